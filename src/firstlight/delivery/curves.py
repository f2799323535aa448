"""Training curves: loss and accuracy over the epochs, with a divider between the phases of a run."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from firstlight.delivery.style import TITLE_LINE, Theme, add_title, new_figure, style_axes, theme_of, title_lines
from firstlight.delivery.text import drawable_text
from firstlight.errors import UserError
from firstlight.files import open_regular_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 9.0, 3.2  # inches
COLUMNS = ("epoch", "train_loss", "valid_loss", "valid_accuracy")


def training_curves(
    history: Sequence[Mapping[str, Any]] | Path | str,
    best: int | None = None,
    *,
    phases: Sequence[tuple[str, int]] = (),
    title: str | None = None,
    axes: "tuple[Axes, Axes] | None" = None,
) -> "tuple[Axes, Axes]":
    """Draw loss and accuracy over the epochs, the best epoch marked.

    Args:
        history: one row per epoch with `epoch, train_loss, valid_loss, valid_accuracy` (more is ignored), or the
            `metrics.csv` that holds them. An empty or missing number leaves a gap.
        best: the epoch whose weights were kept; if None, the one with the highest validation accuracy, and of these
            the lowest loss (as training chooses).
        phases: what was trained, one after the other, each with its last epoch; a line divides them. By default the
            exact linear head (epoch 0) from what follows, if there was one.
        title: above both.
        axes: where to draw loss and accuracy; a new figure if None.

    Raises:
        UserError: if there is no epoch to draw.
    """
    if isinstance(history, Path | str):
        try:
            with open_regular_text(history, newline="") as file:
                rows: Sequence[Mapping[str, Any]] = list(csv.DictReader(file))
        except OSError as error:
            raise UserError(f"{history}: the metrics cannot be read ({error.strerror})") from None
    else:
        rows = history
    if not rows:
        raise UserError("there is no epoch in this history; train for at least one")
    epochs, train, valid, accuracy = ([_number(row.get(name)) for row in rows] for name in COLUMNS)
    if best is None and not all(map(math.isnan, accuracy)):
        ranks = np.lexsort([-np.array(epochs), -np.nan_to_num(valid, nan=np.inf), np.nan_to_num(accuracy, nan=-1)])
        best = int(epochs[ranks[-1]])
    if not phases and epochs[0] == 0 and len(epochs) > 1:
        phases = [("linear head", 0), ("fine-tuning", int(epochs[-1]))]
    if axes is None:
        figure = new_figure(WIDTH, HEIGHT + TITLE_LINE * len(title_lines(title, WIDTH)))
        add_title(figure, title)
        losses, right = figure.subplots(1, 2)
    else:
        losses, right = axes
    theme = theme_of(losses)
    mark: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(rows) <= 30 else {}
    losses.plot(epochs, train, color=theme.muted, label="training", **mark)
    losses.plot(epochs, valid, color=theme.accent, label="validation", **mark)
    right.plot(epochs, accuracy, color=theme.accent, label="validation", **mark)
    for panel, name, values in ((losses, "loss", valid), (right, "accuracy", accuracy)):
        _style(panel, name, epochs, theme)
        if best is not None and best in epochs:
            _mark_best(panel, best, values[epochs.index(best)], theme)
        panel.legend(frameon=False, fontsize=8.5, labelcolor=theme.text)
        _divide(panel, phases, theme)
    return losses, right


def _style(panel: "Axes", name: str, epochs: Sequence[float], theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    style_axes(panel, grid="both")
    panel.set_title(name, fontsize=10, color=theme.text, loc="left")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.set_xlabel("epoch", fontsize=9, color=theme.text)
    if len(epochs) == 1:
        panel.set_xlim(epochs[0] - 1, epochs[0] + 1)


def _mark_best(panel: "Axes", best: int, value: float, theme: Theme) -> None:
    words = f"best: epoch {best}" + ("" if math.isnan(value) else f", {value:.4g}")
    panel.axvline(best, color=theme.text, linewidth=0.8, linestyle=(0, (4, 3)), label=words)
    panel.plot([best], [value], "o", color=theme.accent, markersize=7, markeredgecolor=theme.text)


def _divide(panel: "Axes", phases: Sequence[tuple[str, int]], theme: Theme) -> None:
    """Draw a line between phases, and write the name of each at the foot of its part."""
    if len(phases) < 2:
        return
    names, options = drawable_text([name for name, _ in phases], 28)
    ends = [last for _, last in phases]
    panel.set_xlim(min(panel.get_xlim()[0], -0.75) if ends[0] == 0 else None, None)
    for name, start, end in zip(names, [panel.get_xlim()[0], *(end + 0.5 for end in ends)], ends, strict=False):
        if end != ends[-1]:
            panel.axvline(end + 0.5, color=theme.muted, linewidth=1.2)
        panel.annotate(
            name, (start, 0), (3, 4), xycoords=("data", "axes fraction"), textcoords="offset points",
            fontsize=8, color=theme.quiet, rotation=90, va="bottom", zorder=4,
            bbox={"facecolor": theme.page, "edgecolor": "none", "alpha": 0.8, "pad": 1}, **options,
        )  # fmt: skip


def _number(cell: Any) -> float:
    return math.nan if cell in (None, "") else float(cell)
