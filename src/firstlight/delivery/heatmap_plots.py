"""A heatmap as a figure: the picture, the heatmap over it, what its colors mean, and what it does not prove."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.overlay import MIDDLE_GRAY, MOST_OPAQUE, colors_of, overlay
from firstlight.delivery.plots import imshow
from firstlight.delivery.style import TITLE_LINE, add_title, new_figure, theme_of, title_lines
from firstlight.delivery.text import drawable_text
from firstlight.resize import Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 7.6  # inches
PANEL = 3.5  # inches, at most, of each of the two pictures
SMALL_PRINT = 0.62  # inches


def heatmap_figure(
    picture: NDArray[np.uint8],
    heat: NDArray[np.float32],
    part: Part,
    *,
    title: str,
    lines: list[str],
) -> "tuple[Axes, Axes]":
    """Show a picture beside its heatmap, and return the two Axes.

    Args:
        picture: uint8 `[h, w, C]`, whole.
        heat: float32 `[h, w]`, 0 to 1, NaN where the network sees nothing.
        part: of the picture that the network sees.
        title: above both.
        lines: the small print below.
    """
    height, width = picture.shape[:2]
    shown = PANEL * min(1.0, height / width)
    titles = title_lines(title, WIDTH)
    figure = new_figure(WIDTH, shown + TITLE_LINE * len(titles) + SMALL_PRINT + 0.17 * len(lines))
    add_title(figure, title)
    left, right, scale, words = figure.subplot_mosaic(
        [["picture", "heatmap"], ["scale", "scale"], ["words", "words"]],
        height_ratios=[shown, 0.1, 0.17 * len(lines) + 0.1],
    ).values()
    imshow(picture, left)
    imshow(overlay(picture, heat), right)
    if np.isnan(heat).any():
        for ax in (left, right):
            _outline(ax, part)
    _legend(scale)
    theme = theme_of(figure)
    words.set_axis_off()
    texts, options = drawable_text(lines)
    words.text(0, 1, "\n".join(texts), va="top", fontsize=7.5, color=theme.quiet, linespacing=1.4, **options)
    return left, right


def _outline(ax: "Axes", part: Part) -> None:
    """Draw a line, dark on light and light on dark, around the part of a picture that the network sees."""
    from matplotlib.patches import Rectangle

    for color, width in (("#000000", 2.4), ("#FFFFFF", 1.0)):
        ax.add_patch(
            Rectangle((part.left - 0.5, part.top - 0.5), part.width, part.height, fill=False, ec=color, lw=width)
        )


def _legend(ax: "Axes") -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32)[None]
    opacity = MOST_OPAQUE * values[..., None]
    mixed = np.full((1, 256, 3), MIDDLE_GRAY) * (1 - opacity) + colors_of(values) * opacity
    ax.imshow(np.rint(mixed).astype(np.uint8), aspect="auto", extent=(0, 1, 0, 1))
    theme = theme_of(ax)
    ax.set_yticks([])
    ax.set_xticks([])
    ax.text(0, -0.5, "no evidence", ha="left", va="top", fontsize=8, color=theme.text)
    ax.text(1, -0.5, "most, in this picture", ha="right", va="top", fontsize=8, color=theme.text)
    ax.spines[:].set_visible(False)
