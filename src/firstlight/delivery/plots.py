"""Plots: an image, its class probabilities, training curves, the confusion matrix, the worst mistakes.

Every function draws on the Axes it is given, or on a new figure, and returns the Axes. Matplotlib is imported when a
figure is made; its settings are never changed. Class names are drawn literally.
"""

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.delivery.pixels import as_array, as_pixels
from firstlight.delivery.style import BLUE, GRAY, LIGHT_GRAY, TEXT_COLOR, new_figure, style_axes
from firstlight.delivery.text import drawable_text, shorten
from firstlight.errors import UserError
from firstlight.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from firstlight.delivery.pixels import ImageLike

MAX_SHARP_SIDE = 128  # pixels; up to this size each pixel is shown as a square


def imshow(image: "ImageLike", ax: "Axes | None" = None, title: str | None = None) -> "Axes":
    """Show one image; small ones with sharp pixels.

    Args:
        image: `[H, W]`, `[H, W, C]` or `[C, H, W]`, array or tensor; uint8, or float in 0..1. Floats outside that range
            (normalized images, filters) are stretched from their lowest to their highest value. With 1, 3 or 4
            channels; otherwise the mean of the channels is shown in gray.
        ax: where to draw; a new figure if None.
        title: one line above it.
    """
    pixels = as_pixels(image)
    height, width = pixels.shape[:2]
    if ax is None:
        ax = new_figure(4.0 * min(1.0, width / height) + 0.2, 4.0 * min(1.0, height / width) + 0.4).add_subplot()
    sharp = max(height, width) <= MAX_SHARP_SIDE
    top = 255 if pixels.dtype == np.uint8 else 1
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=top, interpolation="nearest" if sharp else "antialiased")
    ax.set_axis_off()
    if title is not None:
        (text,), options = drawable_text([title])
        ax.set_title(text, fontsize=10, color=TEXT_COLOR, **options)
    return ax


def image_with_probabilities(
    image: "ImageLike",
    probabilities: ArrayLike,
    classes: Sequence[str],
    top: int = 10,
    label: int | str | None = None,
    *,
    axes: "tuple[Axes, Axes] | None" = None,
) -> "tuple[Axes, Axes]":
    """Show an image beside its class probabilities as bars, the highest on top.

    Args:
        image: as for `imshow`.
        probabilities: `[K]`, in the order of `classes`.
        classes: the K names.
        top: how many classes get a bar of their own; the others share one bar.
        label: the true class, index or name; its bar is always shown, and outlined.
        axes: where to draw the image and the bars; a new figure if None.

    Raises:
        UserError: if there is not one probability per class, or `label` is no class.
    """
    fractions = np.asarray(as_array(probabilities), dtype=np.float64)
    if fractions.shape != (len(classes),):
        raise UserError(f"there are {fractions.size} probabilities for {len(classes)} classes; give one for each")
    true = _class_index(label, classes)
    shown = _bars(fractions, top, true)
    hidden = len(classes) - len(shown)
    names, options = drawable_text([classes[index] for index in shown])
    names = [shorten(name, 28) for name in names]
    widths = fractions[shown].tolist()
    if hidden:
        names.append(f"{hidden} others")
        widths.append(float(fractions.sum() - fractions[shown].sum()))
    if axes is None:
        height = max(2.4, 0.3 * len(names) + 0.9)
        left, right = new_figure(3.0 + 4.6, height).subplots(1, 2, width_ratios=(3.0, 4.6))
    else:
        left, right = axes
    imshow(image, left)
    colors = [BLUE, *[GRAY] * (len(shown) - 1), *[LIGHT_GRAY] * bool(hidden)]
    bars = right.barh(range(len(names)), widths, color=colors, height=0.72)
    for place, (index, width) in enumerate(zip([*shown, None][: len(names)], widths, strict=True)):
        is_true = true is not None and index == true
        if is_true:
            bars[place].set(edgecolor=TEXT_COLOR, linewidth=1.4)
        words = f"{100 * width:.1f} %" + ("  true" if is_true else "")
        right.text(max(width, 0.0) + 0.015, place, words, va="center", fontsize=9, color=TEXT_COLOR)
    right.set_yticks(range(len(names)), names, fontsize=9, color=TEXT_COLOR, **options)
    right.set_ylim(len(names) - 0.4, -0.6)
    right.set_xlim(0, 1.22)
    right.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    style_axes(right, grid="x")
    right.spines["left"].set_visible(False)
    return left, right


def training_curves(
    history: Sequence[Mapping[str, Any]] | Path | str,
    best: int | None = None,
    *,
    axes: "tuple[Axes, Axes] | None" = None,
) -> "tuple[Axes, Axes]":
    """Draw loss and accuracy over the epochs, the best epoch marked.

    Args:
        history: one row per epoch with `epoch, train_loss, valid_loss, valid_accuracy` (more is ignored), or the
            `metrics.csv` that holds them. An empty or missing number leaves a gap.
        best: the epoch whose weights were kept; if None, the one with the highest validation accuracy, and of these
            the lowest loss (as training chooses).
        axes: where to draw loss and accuracy; a new figure if None.

    Raises:
        UserError: if there is no epoch to draw.
    """
    from matplotlib.ticker import MaxNLocator

    if isinstance(history, Path | str):
        with Path(history).open(newline="", encoding="utf-8") as file:
            rows: Sequence[Mapping[str, Any]] = list(csv.DictReader(file))
    else:
        rows = history
    if not rows:
        raise UserError("there is no epoch in this history; train for at least one")
    names = ("epoch", "train_loss", "valid_loss", "valid_accuracy")
    epochs, train, valid, accuracy = ([_number(row.get(name)) for row in rows] for name in names)
    if best is None and not all(map(math.isnan, accuracy)):
        ranks = np.lexsort([-np.array(epochs), -np.nan_to_num(valid, nan=np.inf), np.nan_to_num(accuracy, nan=-1)])
        best = int(epochs[ranks[-1]])
    losses, right = axes or new_figure(9.0, 3.2).subplots(1, 2)
    mark: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(rows) <= 30 else {}
    losses.plot(epochs, train, color=GRAY, label="training", **mark)
    losses.plot(epochs, valid, color=BLUE, label="validation", **mark)
    losses.set_title("loss", fontsize=10, color=TEXT_COLOR, loc="left")
    right.plot(epochs, accuracy, color=BLUE, label="validation", **mark)
    right.set_title("accuracy", fontsize=10, color=TEXT_COLOR, loc="left")
    for panel, values in ((losses, valid), (right, accuracy)):
        style_axes(panel, grid="both")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(rows) == 1:
            panel.set_xlim(epochs[0] - 1, epochs[0] + 1)
        panel.set_xlabel("epoch", fontsize=9, color=TEXT_COLOR)
        if best is not None and best in epochs:
            value = values[epochs.index(best)]
            words = f"best: epoch {best}" + ("" if math.isnan(value) else f", {value:.4g}")
            panel.axvline(best, color=TEXT_COLOR, linewidth=0.8, linestyle=(0, (4, 3)), label=words)
            panel.plot([best], [value], "o", color=BLUE, markersize=7, markeredgecolor=TEXT_COLOR)
        panel.legend(frameon=False, fontsize=8.5, labelcolor=TEXT_COLOR)
    return losses, right


def confusion_matrix(confusion: ArrayLike, classes: Sequence[str], ax: "Axes | None" = None) -> "Axes":
    """Draw the confusion matrix: one row per true class, each cell colored by its fraction of the row.

    Counts are written for up to 20 classes, except zeros. The color scale is that of square roots, so that a cell
    with 1 % of its row is visible. With very many classes, only every n-th name is written.

    Args:
        confusion: counts `[K, K]`.
        classes: the K names.
        ax: where to draw; a new figure, larger for more classes, if None.

    Raises:
        UserError: if the matrix does not have one row and one column per class.
    """
    from matplotlib.colors import PowerNorm

    counts, size = np.asarray(as_array(confusion)), len(classes)
    if counts.shape != (size, size):
        raise UserError(f"a confusion matrix of {size} classes is {size} x {size}, not {counts.shape}")
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if ax is None:
        side = max(3.4, 1.6 + 0.5 * size) if size <= 20 else min(14.0, 8.0 + 0.06 * size)
        ax = new_figure(side + 0.7, side, compress=True).add_subplot()
    image = ax.imshow(fractions, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    if size <= 20:
        for row, column in np.argwhere(counts).tolist():
            color = "white" if fractions[row, column] > 0.3 else TEXT_COLOR
            words = f"{counts[row, column]:,}"
            ax.text(column, row, words, ha="center", va="center", fontsize=8, color=color)
    _name_both_axes(ax, classes)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.04, pad=0.02, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1", "10", "25", "50", "100 %"], fontsize=8, color=TEXT_COLOR)
    bar.ax.tick_params(length=0)
    bar.set_label("fraction of the true class", fontsize=8, color=TEXT_COLOR)
    bar.outline.set_visible(False)
    return ax


def image_grid(
    images: "Sequence[ImageLike] | ImageLike",
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    figure: "Figure | SubFigure | None" = None,
) -> "NDArray[Any]":
    """Show images in rows, each as `imshow` does, and return the Axes of the images, object `[m]`.

    Args:
        images: `[m, H, W, C]`, `[m, C, H, W]`, or a list of images of any sizes.
        titles: one or two lines for each.
        columns: how many per row; if None, at least 4, and for many images about 5 columns to 4 rows.
        figure: where to draw; a new one if None.
    """
    count = len(images)
    columns = columns or max(4, math.ceil(math.sqrt(count * 1.25)))
    columns = max(1, min(columns, count))
    rows = max(1, math.ceil(count / columns))
    lines = max((title.count("\n") + 1 for title in titles or ()), default=0)
    shapes = [as_pixels(image).shape for image in images]
    aspect = min(1.0, max((shape[0] / shape[1] for shape in shapes), default=1.0))  # of height to width, at most square
    figure = figure or new_figure(1.75 * columns, (1.55 * aspect + 0.2 * lines) * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.remove()
    for place in range(count):
        imshow(images[place], axes[place])
        if titles is not None:
            texts, options = drawable_text(titles[place].split("\n"))
            axes[place].set_title("\n".join(texts), fontsize=8, color=TEXT_COLOR, **options)
    return axes[:count]


def mistakes_grid(
    images: "Sequence[ImageLike] | ImageLike",
    labels: Sequence[int],
    predicted: Sequence[int],
    probabilities: Sequence[float],
    classes: Sequence[str],
    *,
    figure: "Figure | SubFigure | None" = None,
) -> "NDArray[Any]":
    """Show wrong answers: the class that the model predicted, with its probability, and below it the true class.

    Without any, a single empty Axes says so.

    Args:
        images: m images, as for `image_grid`.
        labels: the true class of each, indices `[m]`.
        predicted: the predicted class of each, indices `[m]`.
        probabilities: of the predicted classes, `[m]`.
        classes: the K names.
        figure: where to draw; a new one if None.
    """
    if len(images) == 0:
        ax = (figure or new_figure(4.0, 1.2)).add_subplot()
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no mistakes", ha="center", va="center", color=TEXT_COLOR)
        return np.array([ax], dtype=object)
    names, _ = drawable_text(classes)
    titles = [
        f"said {shorten(names[guess], 13)} {100 * fraction:.0f} %\nis {shorten(names[label], 20)}"
        for label, guess, fraction in zip(labels, predicted, probabilities, strict=True)
    ]
    return image_grid(images, titles, figure=figure)


def save_figure(axes: "Axes | Sequence[Axes] | NDArray[Any]", path: Path | str, dpi: int = 150) -> Path:
    """Write the figure of these Axes as PNG, atomically, close it, and return the path.

    The same figure always has the same bytes. The folder must exist.
    """
    figure = np.asarray(axes, dtype=object).ravel()[0].get_figure(root=True)
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)
    return Path(path)


def _name_both_axes(ax: "Axes", classes: Sequence[str]) -> None:
    size = len(classes)
    places = range(0, size, math.ceil(size / 100))
    names, options = drawable_text([classes[place] for place in places])
    names = [shorten(name, 24) for name in names]
    fontsize = 9 if size <= 20 else 7 if size <= 50 else 5.5
    rotation = 0 if max(map(len, names)) <= 3 else 45 if size <= 20 else 90
    alignment: dict[str, Any] = {"ha": "right", "rotation_mode": "anchor"} if rotation == 45 else {}
    ax.set_xticks(places, names, rotation=rotation, fontsize=fontsize, color=TEXT_COLOR, **alignment, **options)
    ax.set_yticks(places, names, fontsize=fontsize, color=TEXT_COLOR, **options)
    ax.set_xlabel("predicted class", fontsize=10, color=TEXT_COLOR)
    ax.set_ylabel("true class", fontsize=10, color=TEXT_COLOR)
    ax.tick_params(length=0)
    ax.spines[:].set_color(LIGHT_GRAY)


def _bars(fractions: NDArray[np.float64], top: int, true: int | None) -> list[int]:
    """Return the classes that get a bar, most probable first; the true one takes the last place if need be."""
    order: list[int] = np.argsort(-fractions, kind="stable").tolist()
    if len(order) <= top + 1:  # a bar for "1 others" would hide a name and save nothing
        return order
    shown = order[: max(top, 1)]
    if true is not None and true not in shown:
        shown = [*shown[: max(top - 1, 1)], true]
    return shown


def _class_index(label: int | str | None, classes: Sequence[str]) -> int | None:
    if isinstance(label, str):
        if label not in classes:
            raise UserError(f"the true label {label!r} is none of the {len(classes)} classes")
        return list(classes).index(label)
    if label is not None and not 0 <= label < len(classes):
        raise UserError(f"the true label {label} is none of the classes 0 to {len(classes) - 1}")
    return label


def _number(cell: Any) -> float:
    return math.nan if cell in (None, "") else float(cell)
