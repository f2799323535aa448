"""Small texts in the cache, each in a file of one line that ends in its digest."""

from pathlib import Path

import xxhash

from firstlight.files import read_regular, write_text


def write_line(path: Path, text: str) -> None:
    """Write a text without line ends and its digest, atomically.

    Raises:
        OSError: if the file cannot be written.
    """
    write_text(path, f"{text} {_digest(path, text)}\n")


def read_line(path: Path) -> str | None:
    """Return a text that `write_line` wrote to this path; None if it is not there, or not as it was written."""
    try:
        text, _, digest = read_regular(path).decode("utf-8").rpartition(" ")
    except (OSError, UnicodeDecodeError):
        return None
    return text if digest == f"{_digest(path, text)}\n" else None


def _digest(path: Path, text: str) -> str:
    return xxhash.xxh3_64_hexdigest(f"{path.name}\n{text}".encode())
