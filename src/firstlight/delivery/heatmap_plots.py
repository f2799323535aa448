"""A heatmap as a figure: the picture, the heatmap over it, what its colors mean, and what it does not prove."""

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.overlay import MIDDLE_GRAY, MOST_OPAQUE, colors_of, overlay
from firstlight.delivery.plots import imshow
from firstlight.delivery.style import TITLE_LINE, new_figure, theme_of, title_lines
from firstlight.delivery.text import drawable_text
from firstlight.resize import Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.6  # inches
MARGIN = 0.15
PANEL = (WIDTH - 3 * MARGIN) / 2  # the width of each picture, at most
HIGHEST = 4.6  # inches, of a picture
CAPTION = 0.42  # inches, below the pictures: the legend and its words
LINE = 0.165  # inches, of the small print
LINE_LENGTH = 118  # characters of it


def heatmap_figure(
    picture: NDArray[np.uint8], heat: NDArray[np.float32], part: Part, *, title: str, notes: Sequence[str]
) -> "tuple[Axes, Axes]":
    """Show a picture beside its heatmap, with a legend and notes, and return the two Axes.

    Args:
        picture: uint8 `[h, w, C]`, whole.
        heat: float32 `[h, w]`, 0 to 1, NaN where the network sees nothing.
        part: of the picture that the network sees.
        title: above both.
        notes: the small print below, one paragraph each.
    """
    rows, columns = picture.shape[:2]
    wide = min(PANEL, HIGHEST * columns / rows)
    high = wide * rows / columns
    titles = title_lines(title, WIDTH)
    lines = [line for note in notes for line in wrap(note, LINE_LENGTH)]
    above, below = MARGIN + TITLE_LINE * len(titles) + 0.06, CAPTION + LINE * len(lines) + MARGIN
    figure = new_figure(WIDTH, above + high + below)
    figure.set_layout_engine("none")
    theme = theme_of(figure)
    _write(figure, titles, (MARGIN, above + high + below - MARGIN), 10, theme.text)
    second = MARGIN + max(wide + MARGIN, min(PANEL + MARGIN, 4.0) if wide > 2.4 else 0)
    left, right = (_axes(figure, start, below, wide, high) for start in (MARGIN, second))
    imshow(picture, left)
    imshow(overlay(picture, heat), right)
    if np.isnan(heat).any():
        for ax in (left, right):
            _frame(ax, part)
        _write(figure, ["The network sees what is in the frame."], (MARGIN, below - 0.09), 8, theme.quiet)
    _legend(figure, second, below - 0.19, min(max(wide, 2.2), WIDTH - MARGIN - second))
    _write(figure, lines, (MARGIN, below - CAPTION - 0.04), 7.5, theme.quiet)
    return left, right


def _axes(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    """Return Axes at a place in inches from the lower left."""
    whole_width, whole_height = figure.get_size_inches()
    return figure.add_axes((left / whole_width, bottom / whole_height, width / whole_width, height / whole_height))


def _write(figure: "Figure", lines: Sequence[str], place: tuple[float, float], size: float, color: str) -> None:
    """Write lines from a place, in inches from the lower left, downward."""
    left, top = place
    whole_width, whole_height = figure.get_size_inches()
    texts, options = drawable_text(lines)
    figure.text(
        left / whole_width, top / whole_height, "\n".join(texts), va="top", fontsize=size, color=color,
        linespacing=1.35, **options,
    )  # fmt: skip


def _frame(ax: "Axes", part: Part) -> None:
    """Draw a line around the part of a picture that the network sees, white on dark and dark on light."""
    from matplotlib.patches import Rectangle

    place = (part.left - 0.5, part.top - 0.5)
    for color, width in (("#101418", 2.6), ("#FFFFFF", 1.2)):
        ax.add_patch(Rectangle(place, part.width, part.height, fill=False, ec=color, lw=width, clip_on=False))


def _legend(figure: "Figure", left: float, bottom: float, width: float) -> None:
    """Draw what the colors mean, as they look on middle gray."""
    values = np.linspace(0, 1, 256, dtype=np.float32)[None]
    opacity = MOST_OPAQUE * values[..., None]
    mixed = np.full((1, 256, 3), MIDDLE_GRAY) * (1 - opacity) + colors_of(values) * opacity
    ax = _axes(figure, left, bottom, width, 0.09)
    ax.imshow(np.rint(mixed).astype(np.uint8), aspect="auto", extent=(0, 1, 0, 1))
    ax.set_axis_off()
    color = theme_of(figure).text
    for place, words in ((0.0, "no evidence"), (1.0, "most in this picture")):
        ax.text(place, -0.35, words, ha="right" if place else "left", va="top", fontsize=8, color=color)
