"""Numbers, names and lists as a page says them."""

import math
from collections.abc import Sequence

from firstlight.escaping import escape
from firstlight.evaluation.intervals import Estimate


def percent(fraction: float, digits: int = 1) -> str:
    """Return a fraction in percent; what is neither nothing nor everything is never rounded to 0 or 100."""
    smallest = 10.0**-digits
    value = 100 * fraction
    if 0 < value < smallest:
        return f"< {smallest:g}%"
    if 100 - smallest < value < 100:
        value = math.floor(value / smallest) * smallest
    return f"{value:.{digits}f}%"


def between(estimate: Estimate) -> str:
    """Return the 95% interval of a fraction, as `80.7% to 88.0%`."""
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def points(fraction: float) -> str:
    """Return a difference of two fractions, as `2.1 points`."""
    shown = f"{100 * abs(fraction):.1f}"
    return f"{shown} {'point' if shown == '1.0' else 'points'}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun: `1 picture`, `2,000 pictures`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {plural or (noun[:-1] + 'ies' if noun.endswith('y') else noun + 's')}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return names with `and` before the last one; of many, the first and how many more there are."""
    shown = [escape(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most:,} more")
    if len(shown) > 2:
        shown[-1] = f"and {shown[-1]}"
        return ", ".join(shown)
    return " and ".join(shown)


def choices_as_options(text: str) -> str:
    """Return a message whose choices stand between backticks, such as `img_size`, with them as options."""
    parts = text.split("`")
    return "".join(f"--{part.replace('_', '-')}" if place % 2 else part for place, part in enumerate(parts))


def as_sentence(text: str) -> str:
    """Return a text with a capital letter in front and a period at the end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
