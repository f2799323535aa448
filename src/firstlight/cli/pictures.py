"""The pictures that a command is given by paths: which files they are, and how the command ends."""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice

from firstlight.cli.exit_codes import DONE, WRONG_INPUT
from firstlight.cli.layout import counted
from firstlight.cli.terminal import tell
from firstlight.errors import DataError

MOST_COUNTED = 20_000


def files_named(words: Sequence[str]) -> Iterator[str]:
    """Yield the files that the words of a command name; `-` stands for the paths on standard input."""
    from firstlight.delivery.path_lists import read_paths
    from firstlight.delivery.predict import find_files

    return find_files(path for word in words for path in (read_paths(sys.stdin.buffer) if word == "-" else [word]))


def at_least(words: Sequence[str]) -> int:
    """Return how many pictures the words of a command name, at least; it does not wait for paths on standard input."""
    return sum(1 for _ in islice(files_named([word for word in words if word != "-"]), MOST_COUNTED))


def require_pictures(count: int, words: Sequence[str]) -> None:
    """Refuse words that name no picture.

    Raises:
        DataError: if there is none.
    """
    if count:
        return
    if all(word == "-" for word in words):
        raise DataError("no paths came in on standard input; write one per line, as find does")
    raise DataError(f"no pictures found in {' '.join(words)}; give pictures, folders, or archives")


def end_of(count: int, errors: int) -> int:
    """Report how many pictures could not be used, if any, and return the exit code."""
    if errors:
        tell(f"{errors:,} of {counted(count, 'picture')} could not be used")
    return DONE if errors < count else WRONG_INPUT
