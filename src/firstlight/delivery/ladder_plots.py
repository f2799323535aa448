"""Figures of transfer learning: what each rung of the ladder is worth, and what more images would give.

As in `plots`, every function draws on the Axes it is given, or on a new figure, and returns the Axes.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from firstlight.delivery.canvas import ACCENT, INK, QUIET, calm, new_figure
from firstlight.delivery.lettering import lettering, shorten
from firstlight.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rung = tuple[str, float, float, float, float, bool]
Point = tuple[int, float, float, float]

SIGN_ROOM = 0.017  # of the axis' length, for each sign of a number that is written below it


def ladder(rungs: Sequence[Rung], ax: "Axes | None" = None, *, n: int | None = None) -> "Axes":
    """Draw the ladder: a row for each rung, its accuracy as a dot on its interval, what it took at the right.

    Args:
        rungs: from the top row down: name, accuracy 0 to 1, low and high end of its 95 % interval, seconds, and
            whether it was chosen, which shows in color.
        ax: where to draw; a new figure if None.
        n: how many images the accuracies rest on.

    Raises:
        UserError: if there is no rung to draw.
    """
    if not rungs:
        raise UserError("there is no rung on this ladder; give at least one")
    names, values, lows, highs, seconds, chosen = zip(*rungs, strict=True)
    texts, options = lettering(names)
    if ax is None:
        ax = new_figure(7.0, 0.42 * len(rungs) + 0.9).add_subplot()
    places = range(len(rungs))
    colors = [ACCENT if one else QUIET for one in chosen]
    ax.hlines(places, [100 * low for low in lows], [100 * high for high in highs], colors=colors, linewidth=2.4)
    ax.scatter([100 * value for value in values], places, s=46, c=colors, zorder=3)
    for place, value in enumerate(values):
        ax.annotate(
            f"{100 * value:.1f}", (100 * value, place), (0, 6), textcoords="offset points", ha="center",
            fontsize=8, color=INK,
        )  # fmt: skip
    calm(ax, grid="x")
    ax.set_yticks(places, [shorten(text, 40) for text in texts], **options)
    for label, one in zip(ax.get_yticklabels(), chosen, strict=True):
        label.set_color(ACCENT if one else INK)
    ax.set_ylim(len(rungs) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(_accuracy_label(n), fontsize=9, color=INK)
    took = ax.secondary_yaxis("right")
    took.set_yticks(places, [_duration(one) for one in seconds])
    took.tick_params(length=0, labelsize=9, labelcolor=INK)
    took.spines[:].set_visible(False)
    return ax


def learning_curve(
    points: Sequence[Point], forecast: Sequence[tuple[int, float]] = (), ax: "Axes | None" = None
) -> "Axes":
    """Draw accuracy over the number of training images, on a logarithmic scale, and dashed what may come next.

    Args:
        points: images, accuracy 0 to 1, low and high end of its 95 % interval.
        forecast: numbers of images that there are not yet, and the accuracy to expect.
        ax: where to draw; a new figure if None.

    Raises:
        UserError: if there is no point to draw, or one of less than one image.
    """
    if not points or min(images for images, *_ in (*points, *forecast)) < 1:
        raise UserError("a learning curve needs a point, and each of its points at least one picture")
    images, values, lows, highs = zip(*sorted(points), strict=True)
    measured = [100 * value for value in values]
    if ax is None:
        ax = new_figure(6.0, 3.4).add_subplot()
    ax.set_xscale("log")
    calm(ax, grid="both")
    if forecast:
        ahead, expected = zip(*sorted(forecast), strict=True)
        ax.plot(
            [images[-1], *ahead],
            [measured[-1], *(100 * value for value in expected)],
            color=QUIET, linestyle=(0, (4, 3)), marker="o", markerfacecolor="white", markevery=slice(1, None),
            label="forecast",
        )  # fmt: skip
    ax.vlines(images, [100 * low for low in lows], [100 * high for high in highs], colors=ACCENT, linewidth=2.4)
    ax.plot(images, measured, color=ACCENT, marker="o", label="measured, 95 % interval")
    _number_images(ax, [*images, *(count for count, _ in forecast)])
    ax.set_xlabel("training pictures", fontsize=9, color=INK)
    ax.set_ylabel("accuracy in %", fontsize=9, color=INK)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(
        handles[::-1], labels[::-1], ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2,
        frameon=False, fontsize=8.5, labelcolor=INK,
    )  # fmt: skip  # above the axes, where it can hide nothing
    return ax


def _accuracy_label(n: int | None) -> str:
    return "accuracy in %, with its 95 % interval" + ("" if n is None else f" (n = {n:,})")


def _duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.0f} h"


def _number_images(ax: "Axes", counts: Sequence[int]) -> None:
    """Write the numbers of images that there are points for, but for those without room beside a larger one."""
    from matplotlib.ticker import NullFormatter, NullLocator

    low, high = min(counts), max(counts)
    if low == high:
        ax.set_xlim(low / 2, high * 2)
    room = SIGN_ROOM * len(f"{high:,}") * math.log(high / low)
    written: list[int] = []
    for count in sorted(set(counts), reverse=True):
        if not written or math.log(written[-1] / count) >= room:
            written.append(count)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(written[::-1], [f"{count:,}" for count in written[::-1]])
