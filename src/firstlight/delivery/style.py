"""What all figures share: the colors of light and dark pages, how a figure is made, and the style of its axes.

A new figure takes the color of its page from matplotlib, so that `matplotlib.style.use("dark_background")` makes dark
figures. Inside `on_page(DARK)` figures are dark whatever matplotlib says. What is drawn takes its colors from the page
that it is drawn on.
"""

import builtins
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

from firstlight.delivery.text import drawable_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure

CHARACTER_WIDTH = 0.078  # inches, of a title
EQUAL_CONTRAST = 0.18  # the luminance on which black and white are read equally well
TITLE_LINE = 0.19  # inches, the height of one

# Where no folder of matplotlib's own can be written, it takes a temporary one, which nobody has to know.
logging.getLogger("matplotlib").addFilter(
    lambda record: not record.msg.startswith(("mkdir -p failed", "Matplotlib created a temporary cache"))
)


@dataclass(frozen=True, slots=True)
class Theme:
    """The colors of figures on a light or a dark page.

    Attributes:
        page: behind everything.
        accent: of what a figure is about; from the Okabe-Ito palette, which color-blind people tell from gray.
        muted: of what it is compared with.
        faint: of axes and of what is left over.
        text: of words.
        quiet: of words that matter less.
        grid: of grid lines.
        scale: of values from 0 to 1, from the page's color to the strongest.
    """

    page: str
    accent: str
    muted: str
    faint: str
    text: str
    quiet: str
    grid: str
    scale: tuple[str, ...]

    def colormap(self) -> "Colormap":
        """Return the colors of values from 0 to 1."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list("firstlight", list(self.scale))

    def on_scale(self, value: float) -> str:
        """Return the color of words on the color of a value from 0 to 1: black or white, whichever reads better."""
        return "#101418" if _luminance(self.colormap()(value)) > EQUAL_CONTRAST else "#FFFFFF"


LIGHT = Theme(
    page="#FFFFFF",
    accent="#0072B2",
    muted="#9AA5AE",
    faint="#CFD6DB",
    text="#30363B",
    quiet="#66717A",
    grid="#E4E8EB",
    scale=("#FFFFFF", "#C9DFEE", "#6BAED6", "#0072B2", "#08306B"),
)
DARK = Theme(
    page="#16191C",
    accent="#56B4E9",
    muted="#7E8A94",
    faint="#424B52",
    text="#DDE3E8",
    quiet="#98A3AC",
    grid="#2A3036",
    scale=("#16191C", "#123A57", "#0072B2", "#56B4E9", "#D4ECFA"),
)
_page: ContextVar[Theme | None] = ContextVar("page", default=None)


@contextmanager
def on_page(theme: Theme) -> Iterator[None]:
    """Make every new figure for a page of this theme."""
    token = _page.set(theme)
    try:
        yield
    finally:
        _page.reset(token)


def theme_of(drawn: "Axes | Figure | SubFigure") -> Theme:
    """Return the theme for what is drawn on: dark if its page is dark."""
    from matplotlib import rcParams
    from matplotlib.colors import to_rgba

    figure = drawn.get_figure(root=True)
    assert figure is not None
    *_, opacity = color = to_rgba(figure.get_facecolor())
    if opacity < 0.5:  # a page that shows through has the color that matplotlib writes on
        return DARK if _luminance(rcParams["text.color"]) > EQUAL_CONTRAST else LIGHT
    return DARK if _luminance(color) < EQUAL_CONTRAST else LIGHT


def new_figure(width: float, height: float, *, compress: bool = False) -> "Figure":
    """Return a new figure, which notebooks and users of pyplot see; otherwise it has no window and no global state.

    Args:
        width: in inches.
        height: in inches.
        compress: whether to leave no space around axes of a fixed aspect ratio.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.03, compress=compress)
    if "matplotlib.pyplot" in sys.modules or hasattr(builtins, "__IPYTHON__"):
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(width, height), layout=layout)
    else:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout=layout)
    if theme := _page.get():
        figure.set_facecolor(theme.page)
    return figure


def title_lines(title: str | None, width: float) -> list[str]:
    """Return the lines of a title, broken where a figure of this width in inches has no more room."""
    room = max(12, int((width - 0.3) / CHARACTER_WIDTH))
    return [part for line in (title or "").splitlines() for part in wrap(line, room) or [""]]


def add_title(figure: "Figure | SubFigure", title: str | None) -> None:
    """Write a title above everything in a figure, from its left edge on."""
    if not title:
        return
    texts, options = drawable_text(title_lines(title, figure.bbox.width / figure.get_figure(root=True).dpi))
    figure.suptitle("\n".join(texts), x=0.02, ha="left", fontsize=10, color=theme_of(figure).text, **options)


def style_axes(ax: "Axes", grid: Literal["x", "y", "both"]) -> None:
    """Style axes in the manner of all figures: light axes, a grid in one or both directions, no tick marks."""
    theme = theme_of(ax)
    ax.set_facecolor("none")
    ax.set_axisbelow(True)
    ax.grid(visible=True, axis=grid, color=theme.grid, linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(theme.faint)
    ax.tick_params(length=0, labelsize=9, labelcolor=theme.text)


def _luminance(color: Any) -> float:
    """Return the relative luminance of a color, from 0 to 1, as contrasts are calculated from (WCAG 2)."""
    from matplotlib.colors import to_rgb

    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
