"""Run commands in this process, and say what is wrong with how they ended."""

import io
import json
import re
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hostile_parts.attempts import bad_words

CODES = {0, 2, 130, 143}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Ran:
    """A command that has ended.

    Attributes:
        code: its exit code.
        out: what it wrote to stdout.
        err: what it wrote to stderr.
        fault: what is wrong with that; "" if nothing is.
    """

    def __init__(self, *words: str | Path) -> None:
        from firstlight.cli import main

        self.words = list(map(str, words))
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            self.code = main(self.words)
        self.out, self.err = out.getvalue(), err.getvalue()
        self.fault = _fault(self.words, self.code, self.out, self.err)


def _fault(words: Sequence[str], code: int, out: str, err: str) -> str:
    errors = [line for line in err.splitlines() if line.startswith("firstlight:")]
    faults = [
        "" if code in CODES else f"it ended with {code}",
        "" if len(errors) <= 1 else f"it told {len(errors)} errors",
        *(bad_words(line) for line in err.splitlines() if line),
        "it showed a traceback" if "Traceback" in out + err else "",
        f"it wrote {found[0]!r} to the terminal" if (found := CONTROL.search(out)) else "",
        not_strict_json(out) if "--json" in words else "",
    ]
    fault = next(filter(None, faults), "")
    return fault and f"{' '.join(words)!r}: {fault}: {(err or out)[-200:]!r}"


def not_strict_json(text: str) -> str:
    """Return why a text is not one strict JSON value; "" if it is."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        return f"no JSON ({error})"
    return ""
