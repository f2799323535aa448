"""Lay out text for a terminal: lines broken between words, at the width of the terminal."""

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

NARROWEST = 40  # columns; narrower text is harder to read than text that the terminal breaks
HANGING = "  "  # what continues a line begins this much farther to the right


def terminal_width() -> int:
    """Return the columns of the terminal, or of the COLUMNS of the environment; 80 where there is neither."""
    return max(NARROWEST, shutil.get_terminal_size().columns)


def fitted(text: str, stream: TextIO) -> str:
    """Return a line of text, broken between words if it goes to a terminal that is narrower."""
    if not is_too_long(text, stream):
        return text
    indent = text[: len(text) - len(text.lstrip())]
    return wrapped(text, terminal_width(), indent, indent + HANGING)


def is_too_long(text: str, stream: TextIO) -> bool:
    """Return whether a line goes to a terminal that is narrower."""
    return stream.isatty() and len(text) > terminal_width()


def wrapped(text: str, width: int, first: str = "", rest: str = "") -> str:
    """Return text broken between words into lines of at most `width` characters, beginning with `first` and `rest`."""
    words = text.strip()
    return textwrap.fill(
        words, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as `1 picture`, `2,000 pictures` or `3 classes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def definitions(rows: Iterable[tuple[str, str]], width: int, column: int) -> list[str]:
    """Return terms with their descriptions, which all begin in the same column."""
    lines: list[str] = []
    for term, text in rows:
        first = f"  {term}".ljust(column)
        if len(first) > column or not first.endswith("  "):
            lines.append(first.rstrip())
            first = " " * column
        lines += wrapped(text, width, first, " " * column).splitlines() if text else [first.rstrip()]
    return lines


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return the rows of a table with their cells aligned; the columns whose numbers are in `right` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(size) if place in right else cell.ljust(size)
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
