"""Plots of transfer learning: the accuracy of each rung of the ladder, and the learning curve.

As in `plots`, every function draws on the Axes it is given, or on a new figure, and returns the Axes.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from firstlight.delivery.style import TITLE_LINE, add_title, new_figure, style_axes, theme_of, title_lines
from firstlight.delivery.text import drawable_text
from firstlight.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from firstlight.runs.record import LearningCurve, Rung

CHARACTER_WIDTH = 0.017  # of a number below the axis, as a fraction of the axis' length


def ladder(
    rungs: "Sequence[Rung]",
    chosen: str | None = None,
    ax: "Axes | None" = None,
    *,
    n: int | None = None,
    title: str | None = None,
) -> "Axes":
    """Draw the ladder: one row per rung, its accuracy as a dot on its 95% interval, and its seconds at the right.

    Args:
        rungs: from the top row down.
        chosen: the name of the rung that was kept, which is drawn in color.
        ax: where to draw; a new figure if None.
        n: the number of images behind the accuracies, shown below.
        title: above it, on a new figure.

    Raises:
        UserError: if there is no rung to draw.
    """
    if not rungs:
        raise UserError("this ladder has no rungs; give at least one")
    texts, options = drawable_text([rung.name for rung in rungs], 40)
    accuracies = [rung.accuracy for rung in rungs]
    ax = ax or _new_axes(7.0, 0.42 * len(rungs) + 0.9, title)
    theme = theme_of(ax)
    places = range(len(rungs))
    colors = [theme.accent if rung.name == chosen else theme.muted for rung in rungs]
    lows, highs = [100 * accuracy.low for accuracy in accuracies], [100 * accuracy.high for accuracy in accuracies]
    ax.hlines(places, lows, highs, colors=colors, linewidth=2.4)
    ax.scatter([100 * accuracy.value for accuracy in accuracies], places, s=46, c=colors, zorder=3)
    for place, value in enumerate(100 * accuracy.value for accuracy in accuracies):
        ax.annotate(
            f"{value:.1f}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=8,
            color=theme.text,
        )  # fmt: skip
    style_axes(ax, grid="x")
    ax.set_yticks(places, texts, **options)
    for label, rung in zip(ax.get_yticklabels(), rungs, strict=True):
        label.set_color(theme.accent if rung.name == chosen else theme.text)
    ax.set_ylim(len(rungs) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(_accuracy_label(n), fontsize=9, color=theme.text)
    durations = ax.secondary_yaxis("right")
    durations.set_yticks(places, [_duration(rung.seconds) for rung in rungs])
    durations.tick_params(length=0, labelsize=9, labelcolor=theme.text)
    durations.spines[:].set_visible(False)
    return ax


def learning_curve(curve: "LearningCurve", ax: "Axes | None" = None, *, title: str | None = None) -> "Axes":
    """Draw accuracy against the number of training images, on a logarithmic scale, with the forecast dashed.

    Args:
        curve: its points and its forecast.
        ax: where to draw; a new figure if None.
        title: above it, on a new figure.

    Raises:
        UserError: if there is no point to draw, or one of less than one image.
    """
    counts = [point.images for point in curve.points] + [images for images, _ in curve.forecast]
    if not curve.points or min(counts) < 1:
        raise UserError("a learning curve needs at least one point, and each point at least one picture")
    points = sorted(curve.points, key=lambda point: point.images)
    images = [point.images for point in points]
    measured = [100 * point.accuracy.value for point in points]
    ax = ax or _new_axes(6.0, 3.4, title)
    theme = theme_of(ax)
    ax.set_xscale("log")
    style_axes(ax, grid="both")
    if curve.forecast:
        ahead, expected = zip(*sorted(curve.forecast), strict=True)
        ax.plot(
            [images[-1], *ahead],
            [measured[-1], *(100 * value for value in expected)],
            color=theme.muted, linestyle=(0, (4, 3)), marker="o", markerfacecolor=theme.page, markevery=slice(1, None),
            label="forecast",
        )  # fmt: skip
    lows, highs = [100 * point.accuracy.low for point in points], [100 * point.accuracy.high for point in points]
    ax.vlines(images, lows, highs, colors=theme.accent, linewidth=2.4)
    ax.plot(images, measured, color=theme.accent, marker="o", label="measured, 95% interval")
    _label_counts(ax, counts)
    ax.set_xlabel("training pictures", fontsize=9, color=theme.text)
    ax.set_ylabel("accuracy in %", fontsize=9, color=theme.text)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(
        handles[::-1], labels[::-1], ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2,
        frameon=False, fontsize=8.5, labelcolor=theme.text,
    )  # fmt: skip  # above the axes, where it hides nothing
    return ax


def _new_axes(width: float, height: float, title: str | None) -> "Axes":
    figure = new_figure(width, height + TITLE_LINE * len(title_lines(title, width)))
    add_title(figure, title)
    return figure.add_subplot()


def _accuracy_label(n: int | None) -> str:
    return "accuracy in %, with its 95% interval" + ("" if n is None else f" (n = {n:,})")


def _duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.0f} h"


def _label_counts(ax: "Axes", counts: Sequence[int]) -> None:
    """Write the number of images below each point, except where there is no room beside a larger number."""
    from matplotlib.ticker import NullFormatter, NullLocator

    low, high = min(counts), max(counts)
    if low == high:
        ax.set_xlim(low / 2, high * 2)
    width = CHARACTER_WIDTH * len(f"{high:,}") * math.log(high / low)
    written: list[int] = []
    for count in sorted(set(counts), reverse=True):
        if not written or math.log(written[-1] / count) >= width:
            written.append(count)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(written[::-1], [f"{count:,}" for count in written[::-1]])
