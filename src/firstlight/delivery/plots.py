"""Plots of images: one, one with its class probabilities, many in rows, the worst mistakes.

As in `curves`, `confusion_plot` and `ladder_plots`, every function draws on the Axes it is given, or on a new figure,
and returns the Axes. Matplotlib is imported when a figure is made; its settings are never changed. Class names are
drawn literally, and everything in colors that suit the page.
"""

import io
import math
import sys
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.delivery.pixels import as_array, as_pixels
from firstlight.delivery.style import TITLE_LINE, add_title, new_figure, style_axes, theme_of, title_lines
from firstlight.delivery.text import drawable_text
from firstlight.errors import UserError, kind_of, require_type
from firstlight.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from firstlight.delivery.pixels import ImageLike

NAME_LENGTH = 28  # characters of a class beside its bar
NARROWEST_TITLE = 5.0  # inches
TOP = 1.0  # of axes: given to matplotlib, it does not look for the place of a title by measuring everything
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
    (text,), options = drawable_text([title or ""])
    ax.set_title(text, y=TOP, fontsize=10, color=theme_of(ax).text, **options)
    return ax


def image_with_probabilities(
    image: "ImageLike",
    probabilities: ArrayLike,
    classes: Sequence[str],
    top: int = 10,
    label: int | str | None = None,
    *,
    title: str | None = None,
    axes: "tuple[Axes, Axes] | None" = None,
) -> "tuple[Axes, Axes]":
    """Show an image beside its class probabilities as bars, the highest on top.

    Args:
        image: as for `imshow`.
        probabilities: `[K]`, in the order of `classes`.
        classes: the K names.
        top: how many classes get a bar of their own; the others share one bar.
        label: the true class, index or name; its bar is always shown, and outlined.
        title: above both.
        axes: where to draw the image and the bars; a new figure if None.

    Raises:
        UserError: if there is not one probability per class, or `label` is no class.
    """
    require_type(label, int | np.integer | str | None, "label", "the number or the name of a class")
    require_type(top, int, "top", "a whole number")
    try:
        fractions = np.asarray(as_array(probabilities), dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"probabilities are {kind_of(probabilities)}; give one number for each class") from None
    if fractions.shape != (len(classes),):
        raise UserError(f"there are {fractions.size} probabilities for {len(classes)} classes; give one for each")
    true = _class_index(label, classes)
    shown = _bars(fractions, top, true)
    hidden = len(classes) - len(shown)
    names, options = drawable_text([classes[index] for index in shown], NAME_LENGTH)
    widths = fractions[shown].tolist()
    if hidden:
        names.append(f"{hidden:,} others")
        widths.append(float(fractions.sum() - fractions[shown].sum()))
    if axes is None:
        height = max(2.4, 0.3 * len(names) + 0.9) + TITLE_LINE * len(title_lines(title, 7.6))
        figure = new_figure(7.6, height)
        add_title(figure, title)
        left, right = figure.subplots(1, 2, width_ratios=(3.0, 4.6))
    else:
        left, right = axes
    imshow(image, left)
    theme = theme_of(right)
    colors = [theme.accent, *[theme.muted] * (len(shown) - 1), *[theme.faint] * bool(hidden)]
    bars = right.barh(range(len(names)), widths, color=colors, height=0.72)
    for place, (index, width) in enumerate(zip([*shown, None][: len(names)], widths, strict=True)):
        is_true = true is not None and index == true
        if is_true:
            bars[place].set(edgecolor=theme.text, linewidth=1.4)
        words = f"{100 * width:.1f} %" + ("  true" if is_true else "")
        right.text(max(width, 0.0) + 0.015, place, words, va="center", fontsize=9, color=theme.text)
    right.set_yticks(range(len(names)), names, fontsize=9, color=theme.text, **options)
    right.set_ylim(len(names) - 0.4, -0.6)
    right.set_xlim(0, 1.22)
    right.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100%"])
    style_axes(right, grid="x")
    right.spines["left"].set_visible(False)
    return left, right


def image_grid(
    images: "Sequence[ImageLike] | ImageLike",
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "NDArray[Any]":
    """Show images in rows, each as `imshow` does, and return the Axes of the images, object `[m]`.

    Args:
        images: `[m, H, W, C]`, `[m, C, H, W]`, or a list of images of any sizes.
        titles: a few lines for each.
        columns: how many per row; if None, up to 4, and for many images about 5 columns to 4 rows.
        title: above all.
        figure: where to draw; a new one if None.
    """
    lines = [drawable_text(text.split("\n"))[0] for text in titles or ()]
    _, options = drawable_text([line for text in titles or () for line in text.split("\n")])
    texts = None if titles is None else ["\n".join(text) for text in lines]
    return _grid(images, texts, options, columns=columns, title=title, figure=figure)


def mistakes_grid(
    images: "Sequence[ImageLike] | ImageLike",
    labels: Sequence[int],
    predicted: Sequence[int],
    probabilities: Sequence[float],
    classes: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "NDArray[Any]":
    """Show wrong answers: the class that the model predicted, with its probability, the true class, and the file.

    Without any, a single empty Axes says so.

    Args:
        images: m images, as for `image_grid`.
        labels: the true class of each, indices `[m]`.
        predicted: the predicted class of each, indices `[m]`.
        probabilities: of the predicted classes, `[m]`.
        classes: the K names.
        names: of the images, such as the paths of their files; the folders are left out where the rest is unique.
        title: above all.
        figure: where to draw; a new one if None.
    """
    if len(images) == 0:
        figure = figure or new_figure(NARROWEST_TITLE, 1.2)
        add_title(figure, title)
        ax = figure.add_subplot()
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no mistakes", ha="center", va="center", color=theme_of(ax).text)
        return np.array([ax], dtype=object)
    involved = [classes[index] for index in dict.fromkeys([*predicted, *labels])]
    files = [] if names is None else _file_names(names)
    _, options = drawable_text([*involved, *files])
    said, real = (dict(zip(involved, drawable_text(involved, limit)[0], strict=True)) for limit in (14, 22))
    files, _ = drawable_text(files, 22)
    titles = [
        f"said {said[classes[guess]]} ({_percent(fraction)})\nis {real[classes[label]]}"
        for label, guess, fraction in zip(labels, predicted, probabilities, strict=True)
    ]
    if names is not None:
        titles = [f"{text}\n{file}" for text, file in zip(titles, files, strict=True)]
    return _grid(images, titles, options, columns=None, title=title, figure=figure)


def save_figure(
    axes: "Axes | Sequence[Axes] | NDArray[Any]", path: Path | str, dpi: int = 150, description: str | None = None
) -> Path:
    """Write the figure of these Axes as PNG, atomically, close it, and return the path.

    The same figure always has the same bytes. The folder must exist.

    Args:
        axes: of one figure.
        path: of the file.
        dpi: pixels per inch.
        description: kept in the file, for programs.
    """
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(png_of(axes, dpi, description))
    return Path(path)


def png_of(axes: "Axes | Sequence[Axes] | NDArray[Any]", dpi: int = 150, description: str | None = None) -> bytes:
    """Return the figure of these Axes as the bytes of a PNG, and close it; see `save_figure`."""
    figure, file = np.asarray(axes, dtype=object).ravel()[0].get_figure(root=True), io.BytesIO()
    metadata = {"Software": None} | ({"Description": description} if description else {})
    figure.savefig(file, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata=metadata)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)
    return file.getvalue()


def _grid(
    images: "Sequence[ImageLike] | ImageLike",
    texts: Sequence[str] | None,
    options: dict[str, Any],
    *,
    columns: int | None,
    title: str | None,
    figure: "Figure | SubFigure | None",
) -> "NDArray[Any]":
    """Show images in rows, each with a text that can be drawn with these options."""
    require_type(images, Sized, "images", "a list of images, or a stack of them")
    count = len(images)
    most = columns or max(4, math.ceil(math.sqrt(count * 1.25)))
    rows = max(1, math.ceil(count / most))
    columns = max(1, min(most, count) if columns else math.ceil(count / rows))  # rows of about the same length
    lines = max((text.count("\n") + 1 for text in texts or ()), default=0)
    shapes = [as_pixels(image).shape for image in images]
    aspect = min(1.0, max((shape[0] / shape[1] for shape in shapes), default=1.0))  # of height to width, at most square
    if figure is None:
        width = 1.75 * columns if title is None else max(1.75 * columns, NARROWEST_TITLE)
        height = (1.55 * aspect + 0.2 * lines) * rows + TITLE_LINE * len(title_lines(title, width))
        figure = new_figure(width, height)
    add_title(figure, title)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.remove()
    for place in range(count):
        imshow(images[place], axes[place])
        if texts is not None:
            axes[place].set_title(texts[place], y=TOP, fontsize=8, color=theme_of(figure).text, **options)
    return axes[:count]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}%" if fraction >= 0.01 else "< 1%"


def _file_names(names: Sequence[str]) -> list[str]:
    """Return names without their folders, if they are different without them."""
    short = [name.rsplit("/", 1)[-1] for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)


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
