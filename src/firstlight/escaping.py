"""Names from outside, escaped so that they cannot steer a terminal or forge a line."""


def escape(text: str) -> str:
    """Return the text with every character that is not printable, such as a line end, written as its code."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
