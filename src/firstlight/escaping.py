"""Make untrusted names safe to print: they can neither control a terminal nor add a line."""

import re
from collections.abc import Sequence

LONGEST_WORD, LONGEST_LINE = 300, 1500  # characters of a message
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def escape(text: str) -> str:
    """Return the text with every unprintable character, such as a line end, written as its escape code."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    """Return a message that a person can read: escaped, with long words and at last itself cut in the middle."""
    shorter = _LONG_WORD.sub(lambda word: _cut(word[0], LONGEST_WORD), text)
    return _cut(escape(shorter), LONGEST_LINE)


def _cut(text: str, limit: int) -> str:
    """Return a text with so much of its middle left out that at most `limit` characters remain."""
    kept = limit - 1
    return text if len(text) <= limit else f"{text[: kept - kept // 3]}…{text[len(text) - kept // 3 :]}"


def escape_name(name: str, limit: int = 120) -> str:
    """Return a name for use in a message: escaped, shortened to `limit` characters, in quotes if spaces surround it."""
    text = escape(name)
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return f'"{text}"' if text != text.strip() else text


def list_names(names: Sequence[str], *, most: int = 8, last: str = ", ") -> str:
    """Return names for use in a message, with `last` before the last one; only `most`, and how many more there are."""
    shown = [escape_name(name, 60) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most:,} more"
    return last.join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
