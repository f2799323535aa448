"""Make names from outside safe to print: they can neither control a terminal nor add a line."""


def escape(text: str) -> str:
    """Return the text with every unprintable character, such as a line end, written as its escape code."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def escape_name(name: str, limit: int = 120) -> str:
    """Return a name for use in a message: escaped, and shortened to `limit` characters."""
    text = escape(name)
    return text if len(text) <= limit else text[: limit - 3] + "..."
