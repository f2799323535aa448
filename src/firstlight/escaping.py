"""Make untrusted names safe to print: they can neither control a terminal nor add a line."""

from collections.abc import Sequence


def escape(text: str) -> str:
    """Return the text with every unprintable character, such as a line end, written as its escape code."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


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
