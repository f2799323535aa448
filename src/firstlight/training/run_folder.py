"""The run folder: never overwritten; a file's existence means that it is complete."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from firstlight.errors import RunError
from firstlight.files import write_text


def make_run_folder(name: str, out: Path | None = None) -> Path:
    """Make `out`, or else `runs/<name>-<n>` with the first `n` that is free.

    Raises:
        RunError: if `out` holds something, or the folder cannot be made.
    """
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            if any(out.iterdir()):
                raise RunError(f"--out {out}: the folder is not empty, and runs are never overwritten; name a new one")
            return out
        number = 1
        while True:
            folder = Path("runs") / f"{name}-{number}"
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        where = error.filename or out or "runs"
        raise RunError(f"{where}: the run folder cannot be made ({error.strerror}); name another with --out") from None


def write_metrics(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `metrics.csv`, one row an epoch; the whole file anew, so that it is never half a row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "metrics.csv", text.getvalue())


def as_json(value: Any) -> str:
    """Give one line of JSON."""
    return json.dumps(value, allow_nan=False)
