"""What all figures share: their colors, how a figure is made, and the style of its axes."""

import builtins
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE = "#0072B2"  # the one accent color; of the Okabe-Ito palette, which color-blind people can tell from gray
GRAY = "#9AA5AE"
LIGHT_GRAY = "#CFD6DB"
TEXT_COLOR = "#30363B"
GRID_COLOR = "#E4E8EB"


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

        return pyplot.figure(figsize=(width, height), layout=layout)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def style_axes(ax: "Axes", grid: Literal["x", "y", "both"]) -> None:
    """Style axes in the manner of all figures: light axes, a grid in one or both directions, no tick marks."""
    ax.set_axisbelow(True)
    ax.grid(visible=True, axis=grid, color=GRID_COLOR, linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(LIGHT_GRAY)
    ax.tick_params(length=0, labelsize=9, labelcolor=TEXT_COLOR)
