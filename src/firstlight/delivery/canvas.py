"""What all figures have in common: colors, a figure to draw on, and axes that do not shout."""

import builtins
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCENT = "#0072B2"  # blue of the Okabe-Ito palette: told from gray by every kind of eye
QUIET = "#9AA5AE"
PALE = "#CFD6DB"
INK = "#30363B"
GRID = "#E4E8EB"


def new_figure(width: float, height: float, *, compress: bool = False) -> "Figure":
    """Make a figure that a notebook or a pyplot user sees; anyone else's has no window and no global state."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.03, compress=compress)
    if "matplotlib.pyplot" in sys.modules or hasattr(builtins, "__IPYTHON__"):
        from matplotlib import pyplot

        return pyplot.figure(figsize=(width, height), layout=layout)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def calm(ax: "Axes", grid: Literal["x", "y", "both"]) -> None:
    """Take away what is loud: leave pale axes, a grid in one direction or both, and no tick marks."""
    ax.set_axisbelow(True)
    ax.grid(visible=True, axis=grid, color=GRID, linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALE)
    ax.tick_params(length=0, labelsize=9, labelcolor=INK)
