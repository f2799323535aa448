"""A comparison of two models as a figure: every difference as a dot on its interval, against a line at 0.

As in `plots`, the function draws on the Axes it is given, or on a new figure, and returns the Axes.
"""

from typing import TYPE_CHECKING

from firstlight.delivery.style import TITLE_LINE, add_title, new_figure, style_axes, theme_of, title_lines
from firstlight.delivery.text import drawable_text
from firstlight.evaluation.comparison import SPLIT_NAMES, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CLASSES = 20  # with more, those that differ most
WIDTH = 7.0  # inches
ROW_HEIGHT, REST_HEIGHT = 0.3, 1.0  # inches


def differences(found: Comparison, ax: "Axes | None" = None, *, title: str | None = None) -> "Axes":
    """Draw how much more often the second model is right: on all images, and on those of each class.

    Right of the line at 0 the second is better. The intervals of the classes are wide enough for all classes together;
    what leaves out 0 is drawn in color.

    Args:
        found: from `compare`.
        ax: where to draw; a new figure if None.
        title: above it, on a new figure.
    """
    classes = sorted(found.per_class, key=lambda one: -abs(one.difference.value))[:MAX_CLASSES]
    classes = sorted(classes, key=lambda one: -one.difference.value)
    rows = [("all pictures", found.accuracy_difference), *((one.name, one.difference) for one in classes)]
    texts, options = drawable_text([name for name, _ in rows], 30)
    texts = [f"{text} ({row.n:,})" for text, (_, row) in zip(texts, rows, strict=True)]
    if ax is None:
        figure = new_figure(WIDTH, ROW_HEIGHT * len(rows) + REST_HEIGHT + TITLE_LINE * len(title_lines(title, WIDTH)))
        add_title(figure, title)
        ax = figure.add_subplot()
    theme, places = theme_of(ax), list(range(len(rows)))
    sure = [row.low > 0 or row.high < 0 for _, row in rows]
    colors = [theme.accent if each else theme.muted for each in sure]
    ax.axvline(0, color=theme.faint, linewidth=1.2)
    lows, highs = [100 * row.low for _, row in rows], [100 * row.high for _, row in rows]
    ax.hlines(places, lows, highs, colors=colors, linewidth=2.2)
    ax.scatter([100 * row.value for _, row in rows], places, s=[52, *[30] * len(classes)], c=colors, zorder=3)
    style_axes(ax, grid="x")
    ax.set_yticks(places, texts, **options)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    more = f"; the {MAX_CLASSES} classes that differ most" if len(found.per_class) > MAX_CLASSES else ""
    which = " ".join(f"{SPLIT_NAMES.get(found.split, '')} pictures".split())
    label = f"b minus a in percentage points, with 95% intervals (number of {which}){more}"
    ax.set_xlabel(label, fontsize=9, color=theme.text)
    return ax
