"""Figures as inline SVG, in the colors of the page, which are those of light or of dark pages.

A figure is drawn in pixels of a page that is 340 wide, so that its words are as large on a telephone. What it shows is
also said in words, for those who cannot see it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from firstlight.delivery.report.reliability import Bin

WIDTH, HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 40  # the margins around a plot
BAR_WIDTH, BAR_HEIGHT = 120, 12
RULER_WIDTH = 400


def interval_bar(value: float, low: float, high: float) -> Markup:
    """Return a bar of a fraction with its 95% interval; it says nothing aloud, since the numbers stand beside it."""
    at = [round(place * BAR_WIDTH, 1) for place in (value, low, high)]
    middle = BAR_HEIGHT / 2
    return Markup(
        '<svg class="bar" width="{w}" height="{h}" viewBox="0 0 {w} {h}" aria-hidden="true">'
        '<rect class="track" width="{w}" height="{h}" rx="2"/><rect class="fill" width="{v}" height="{h}" rx="2"/>'
        '<path class="whisker" d="M{lo} {m}H{hi}M{lo} {a}V{b}M{hi} {a}V{b}"/></svg>'
    ).format(
        w=BAR_WIDTH, h=BAR_HEIGHT, v=at[0], lo=at[1], hi=at[2], m=middle, a=middle - 3, b=middle + 3
    )  # fmt: skip


def score_ruler(value: float, low: float, high: float) -> Markup:
    """Return a ruler from 0 to 100% with a score and its 95% interval on it; the numbers stand beside it in words."""
    left, right, y = 4, RULER_WIDTH - 4, 12
    x = _scale(0, 1, left, right)
    ticks = [
        Markup('<text class="tick {}" x="{}" y="34">{}</text>').format(
            "start" if not place else "end" if place == 1 else "middle", x(place), _percent(place)
        )
        for place in (0, 0.25, 0.5, 0.75, 1)
    ]
    return (
        Markup('<svg class="ruler" viewBox="0 0 {w} 40" aria-hidden="true">').format(w=RULER_WIDTH)
        + Markup('<rect class="track" x="{}" y="{}" width="{}" height="8" rx="4"/>').format(left, y - 4, right - left)
        + Markup('<rect class="fill" x="{}" y="{}" width="{}" height="8" rx="4"/>').format(
            x(low), y - 4, round(max(2, x(high) - x(low)), 1)
        )
        + Markup('<circle class="dot" cx="{}" cy="{}" r="7"/>').format(x(value), y)
        + Markup("").join(ticks)
        + Markup("</svg>")
    )


def reliability_diagram(bins: Sequence[Bin]) -> Markup:
    """Return how often answers are right against how sure the model was, each with its 95% interval."""
    lowest = min(min(one.confidence, one.accuracy.low) for one in bins)
    start = math.floor(lowest * 10) / 10
    plot = _Plot(across=(start, 1), up=(start, 1))
    plot.axes(_steps(start, 1), _steps(start, 1), ("how sure the model is", "how often it is right"), _percent)
    plot.add('<path class="ideal" d="M{} {}L{} {}"/>', plot.x(start), plot.y(start), plot.x(1), plot.y(1))
    for one in bins:
        across, accuracy = plot.x(one.confidence), one.accuracy
        plot.add('<path class="whisker" d="M{} {}V{}"/>', across, plot.y(accuracy.low), plot.y(accuracy.high))
        plot.add('<circle class="dot" cx="{}" cy="{}" r="4"/>', across, plot.y(accuracy.value))
    first, last = bins[0], bins[-1]
    return plot.figure(
        f"Reliability diagram of {len(bins)} groups of pictures. In the most confident group the model was "
        f"{_percent(last.confidence)} sure and {_percent(last.accuracy.value)} right; in the least confident one "
        f"{_percent(first.confidence)} sure and {_percent(first.accuracy.value)} right."
    )


@dataclass(frozen=True)
class Line:
    """A line of a plot: its name, the places across, and the values, of which one that is no number leaves a gap."""

    name: str
    places: Sequence[float]
    values: Sequence[float]


def line_plot(
    lines: Sequence[Line], across: str, up: str, *, words: str, marked: float | None = None, doubling: bool = False
) -> Markup:
    """Return a plot of lines, of which the first has the strongest color.

    Args:
        lines: at least one, with at least one value.
        across: what the places are.
        up: what the values are.
        words: what the figure shows.
        marked: a place that is marked with an upright line.
        doubling: whether the places are powers of two, shown as what they stand for.
    """
    places = [place for line in lines for place in line.places]
    values = [value for line in lines for value in line.values if math.isfinite(value)]
    ticks = _nice(min(values), max(values))
    first, last = min(places), max(places)
    plot = _Plot(across=(first, last if last > first else first + 1), up=(min(*values, *ticks), max(*values, *ticks)))
    steps = sorted(set(places)) if doubling else sorted({float(round(place)) for place in _nice(first, last)})
    plot.axes(steps, ticks, (across, up), _number, (lambda place: _short(2**place)) if doubling else _number)
    if marked is not None:
        plot.mark(marked)
    for number, line in enumerate(lines):
        pen, path = "M", []
        for place, value in zip(line.places, line.values, strict=True):
            if math.isfinite(value):
                path.append(f"{pen}{plot.x(place)} {plot.y(value)}")
            pen = "L" if math.isfinite(value) else "M"
        plot.add('<path class="line line{}" d="{}"/>', number, "".join(path))
    return plot.figure(words) + _legend([line.name for line in lines])


def histogram(
    counts: Sequence[int], ends: tuple[float, float], across: str, *, words: str, marked: float | None = None
) -> Markup:
    """Return bars of how many images have each value, between two ends.

    Args:
        counts: of bars of the same width, at least one of them above 0.
        ends: the lowest and the highest value.
        across: what the values are.
        words: what the figure shows.
        marked: a value that is marked with an upright line.
    """
    low, high = ends
    ticks = [tick for tick in _nice(0, max(counts)) if tick == round(tick)]
    plot = _Plot(across=ends, up=(0, max(*counts, *ticks)))
    plot.axes(_nice(low, high), ticks, (across, "pictures"), _number)
    step = (high - low) / len(counts)
    for place, count in enumerate(counts):
        left, right = plot.x(low + place * step), plot.x(low + (place + 1) * step)
        top, width = plot.y(count), round(max(0.5, right - left - 1), 1)
        rectangle = '<rect class="fill" x="{}" y="{}" width="{}" height="{}"/>'
        plot.add(rectangle, left, top, width, round(HEIGHT - BOTTOM - top, 1))
    if marked is not None and low <= marked <= high:
        plot.mark(marked)
    return plot.figure(words)


class _Plot:
    """A plot that is drawn part by part.

    Attributes:
        x: the pixel across of a value.
        y: the pixel down of a value.
    """

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.x = _scale(*across, LEFT, WIDTH - RIGHT)
        self.y = _scale(*up, HEIGHT - BOTTOM, TOP)
        self._parts: list[Markup] = []

    def add(self, element: str, *values: object) -> None:
        """Add an SVG element, whose braces stand for these values."""
        self._parts.append(Markup(element).format(*values))

    def mark(self, value: float) -> None:
        """Add an upright line."""
        self.add('<path class="mark" d="M{} {}V{}"/>', self.x(value), TOP, HEIGHT - BOTTOM)

    def axes(
        self,
        across: Sequence[float],
        up: Sequence[float],
        names: tuple[str, str],
        words: Callable[[float], str],
        across_words: Callable[[float], str] | None = None,
    ) -> None:
        """Add both axes: values with words for each, and the names of the axes, across and up."""
        floor = HEIGHT - BOTTOM
        for value in up:
            self.add('<path class="grid" d="M{} {}H{}"/>', LEFT, self.y(value), WIDTH - RIGHT)
            self.add('<text class="tick end" x="{}" y="{}">{}</text>', LEFT - 6, self.y(value) + 4, words(value))
        for value in across:
            named = (across_words or words)(value)
            self.add('<text class="tick middle" x="{}" y="{}">{}</text>', self.x(value), floor + 16, named)
        middle = (LEFT + WIDTH - RIGHT) / 2
        self.add('<text class="axis middle" x="{}" y="{}">{}</text>', middle, HEIGHT - 6, names[0])
        turned = '<text class="axis middle" transform="translate(11 {}) rotate(-90)">{}</text>'
        self.add(turned, (TOP + floor) / 2, names[1])

    def figure(self, words: str) -> Markup:
        """Return all of it."""
        start = '<svg class="plot" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="{words}">'
        opened = Markup(start).format(w=WIDTH, h=HEIGHT, words=words)
        return opened + Markup("").join(self._parts) + Markup("</svg>")


def _legend(names: Sequence[str]) -> Markup:
    if len(names) < 2:
        return Markup("")
    items = [Markup('<li class="line{}">{}</li>').format(place, name) for place, name in enumerate(names)]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return a function from values to pixels; what is outside stays at the edge."""
    width = (high - low) or 1.0

    def place(value: float) -> float:
        return round(start + (min(max(value, low), high) - low) / width * (end - start), 1)

    return place


def _steps(low: float, high: float) -> list[float]:
    step = 0.1 if high - low <= 0.5 else 0.2
    return [round(high - place * step, 2) for place in range(int(round((high - low) / step, 6)) + 1)]


def _nice(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values between two ends, at most so many."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= most)
    first = math.ceil(low / step - 1e-9)
    last = max(first, math.floor(high / step + 1e-9))
    return [round(place * step, 10) for place in range(first, last + 1)]


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 10_000 else _short(value)


def _short(value: float) -> str:
    """Return a large number in few characters: `750`, `1.5k`, `120k`."""
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.3g}k"
