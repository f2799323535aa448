"""The run folder: never overwritten; a file's existence means that it is complete."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from firstlight.errors import RunError
from firstlight.files import write_csv


def require_free(out: Path | None) -> None:
    """Refuse a run folder that holds something, before any work is done for it.

    Raises:
        RunError: if `out` is not a folder or not empty.
    """
    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"--out {out}: that is a file; name a new folder")
    if any(out.iterdir()):
        raise RunError(f"--out {out}: the folder is not empty, and runs are never overwritten; name a new one")


def make_run_folder(name: str, out: Path | None = None) -> Path:
    """Make `out`, or else `runs/<name>-<n>` with the first `n` that is free.

    Raises:
        RunError: if `out` holds something, or the folder cannot be made.
    """
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            require_free(out)
            return out
        runs, number = Path("runs"), 1
        runs.mkdir(exist_ok=True)
        while True:
            folder = runs / f"{name}-{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        where = error.filename or out or "runs"
        raise RunError(f"{where}: the run folder cannot be made ({error.strerror}); name another with --out") from None


def write_metrics(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `metrics.csv`, one row an epoch; the whole file anew, so that it is never half a row."""
    write_csv(folder / "metrics.csv", [tuple(rows[0]), *(tuple(row.values()) for row in rows)])
