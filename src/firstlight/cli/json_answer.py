"""The answer of `--json`: one JSON value on stdout, whatever happens; `{"error": ...}` if there is no other."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from firstlight.cli.faults import reason_of
from firstlight.cli.terminal import flush, write
from firstlight.runtime.signals import last_words

if TYPE_CHECKING:
    from firstlight.delivery.heatmap import Heatmap
    from firstlight.inference.predictor import Prediction

INTERRUPTED = "interrupted"
OUR_MISTAKE = "a bug in firstlight; standard error has the details"


class _Answer:
    """Whether the command owes a JSON value: it was asked for one, and has not begun to write it."""

    owed = False


def owe_json(words: Sequence[str]) -> None:
    """Note whether the words of a command ask for JSON."""
    _Answer.owed = "--json" in takewhile(lambda word: word != "--", words)


def print_json(value: Any) -> None:
    """Write one JSON value as the whole answer; names that are not valid Unicode stay readable by programs."""
    _write(json.dumps(value, allow_nan=False) + "\n")


def print_error(reason: str) -> None:
    """Write `{"error": reason}` as the whole answer if JSON was asked for and nothing of it is written."""
    if _Answer.owed:
        with suppress(Exception):  # the error itself is told on stderr
            print_json({"error": reason})
            flush()


def show_json(rows: "Iterator[Prediction] | Iterator[Heatmap]") -> tuple[int, int]:
    """Print one JSON list, row by row, so that memory stays constant; count as `show_table` does.

    If the rows end in an exception, the last one says that with its `error`, and the list is closed all the same.
    """
    count = errors = 0
    opening = "["

    def add(row: dict[str, Any]) -> None:
        nonlocal opening
        text, opening = opening + json.dumps(row, allow_nan=False), ",\n "
        _write(text)

    try:
        for row in rows:
            count += 1
            errors += row.error is not None
            add(row.to_json())
        _write("]\n" if count else "[]\n")
    except BrokenPipeError:
        raise
    except BaseException as error:
        with suppress(Exception):
            add({"image": None, "error": f"the pictures after this one are missing: {_why(error)}"})
            _write("]\n")
            flush()
        raise
    return count, errors


def _why(error: BaseException) -> str:
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else reason_of(error) or OUR_MISTAKE


def _write(text: str) -> None:
    _Answer.owed = False
    last_words(b"")
    write(text)
