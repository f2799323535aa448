"""The confusion matrix as a figure: of all classes, or of those confused most."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.delivery.pixels import as_array
from firstlight.delivery.style import TITLE_LINE, Theme, add_title, new_figure, theme_of, title_lines
from firstlight.delivery.text import drawable_text
from firstlight.errors import UserError
from firstlight.evaluation.confusion import Confusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 30  # in one figure, with counts that can be read
MOST_SLANTED = 20  # of so many columns the names are slanted; of more, upright
NAME_LENGTH = 24  # characters


def confusion_matrix(
    confusion: Union["Confusion", ArrayLike],
    classes: Sequence[str],
    ax: "Axes | None" = None,
    *,
    title: str | None = None,
    most: int = MOST_CLASSES,
) -> "Axes":
    """Draw the confusion matrix: one row per true class, each cell colored by its fraction of the row.

    Counts are written, except zeros. The color scale is that of square roots, so that a cell with 1% of its row is
    visible. Of many classes, those that are confused most are drawn, each beside what it is taken for; a last row and
    a last column hold what was confused with all others.

    Args:
        confusion: `evaluation.confusion`, or counts `[K, K]`.
        classes: the K names.
        ax: where to draw; a new figure, larger for more classes, if None.
        title: above it.
        most: the number of classes that are drawn if there are more.

    Raises:
        UserError: if the matrix does not have one row and one column per class.
    """
    counts = Confusion.of(confusion if isinstance(confusion, Confusion) else as_array(confusion))
    if counts.size != len(classes):
        raise UserError(
            f"a confusion matrix of {len(classes)} classes is {len(classes)} x {len(classes)}, "
            f"not {counts.size} x {counts.size}"
        )
    shown = list(range(counts.size)) if counts.size <= most else most_confused(counts, most)
    matrix, fractions = _part(counts, shown)
    names = [classes[index] for index in shown]
    if counts.size > len(shown):
        names.append(f"{counts.size - len(shown):,} others")
    size = len(names)
    if ax is None:
        side = max(3.4, 1.6 + (0.5 if size <= MOST_SLANTED else 0.42) * size)
        lines = len(title_lines(title, side + 0.7))
        figure = new_figure(side + 0.7, side + TITLE_LINE * lines, compress=True)
        add_title(figure, title)
        ax = figure.add_subplot()
    elif title:
        (text,), options = drawable_text([title])
        ax.set_title(text, fontsize=10, color=theme_of(ax).text, loc="left", **options)
    theme = theme_of(ax)
    _draw(ax, matrix, fractions, theme)
    _name_both_axes(ax, names, theme)
    if counts.size > len(shown):
        for line in (ax.axhline, ax.axvline):
            line(len(shown) - 0.5, color=theme.muted, linewidth=1.0)
    return ax


def most_confused(confusion: Confusion, most: int) -> list[int]:
    """Return the classes of the most frequent mistakes, each beside what it is mistaken for; at least one class.

    Of mistakes as frequent, those between classes with more mistakes come first. Where there are too few mistakes,
    other classes follow in their order.
    """
    wrong = confusion.true_counts + confusion.predicted_counts - 2 * confusion.hits
    cells = sorted(confusion.mistakes(), key=lambda cell: (-cell.n, -(wrong[cell.true] + wrong[cell.predicted])))
    both = [index for cell in cells for index in (cell.true, cell.predicted)]
    return list(dict.fromkeys([*both, *range(confusion.size)]))[: max(most, 1)]


def _part(confusion: Confusion, shown: list[int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return counts and fractions of the true class, for the classes shown and for all others together.

    What others are taken for among themselves is left out.
    """
    size = len(shown)
    place = {index: position for position, index in enumerate(shown)}
    matrix, rest = np.zeros((size + 1, size + 1), np.int64), size
    for cell in confusion.cells:
        matrix[place.get(cell.true, rest), place.get(cell.predicted, rest)] += cell.n
    totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    matrix[rest, rest] = 0
    if confusion.size == size:
        matrix, totals = matrix[:-1, :-1], totals[:-1]
    return matrix, matrix / totals


def _draw(ax: "Axes", matrix: NDArray[np.int64], fractions: NDArray[np.float64], theme: Theme) -> None:
    from matplotlib.colors import PowerNorm

    norm = PowerNorm(0.5, 0, 1)
    image = ax.imshow(fractions, cmap=theme.colormap(), norm=norm, interpolation="nearest")
    fontsize = 8 if len(matrix) <= MOST_SLANTED else 7
    for row, column in np.argwhere(matrix).tolist():
        color = theme.on_scale(float(norm(fractions[row, column])))
        words = f"{matrix[row, column]:,}"
        ax.text(column, row, words, ha="center", va="center", fontsize=fontsize * min(1, 6 / len(words)), color=color)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.04, pad=0.02, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1", "10", "25", "50", "100%"], fontsize=8, color=theme.text)
    bar.ax.tick_params(length=0)
    bar.set_label("fraction of the true class", fontsize=8, color=theme.text)
    bar.outline.set_visible(False)


def _name_both_axes(ax: "Axes", classes: Sequence[str], theme: Theme) -> None:
    size = len(classes)
    names, options = drawable_text(classes, NAME_LENGTH)
    options |= {"fontsize": 9 if size <= MOST_SLANTED else 8, "color": theme.text}
    rotation = 0 if max(map(len, names)) <= 3 else 45 if size <= MOST_SLANTED else 90
    alignment: dict[str, Any] = {"ha": "right", "rotation_mode": "anchor"} if rotation == 45 else {}
    ax.set_xticks(range(size), names, rotation=rotation, **alignment, **options)
    ax.set_yticks(range(size), names, **options)
    ax.set_xlabel("predicted class", fontsize=10, color=theme.text)
    ax.set_ylabel("true class", fontsize=10, color=theme.text)
    ax.tick_params(length=0)
    ax.spines[:].set_color(theme.faint)
