"""The folder of the answers: what it is of, and who may write into it.

It holds parts, which any reader of Parquet opens, and, until all of them are there, a hidden folder: what the answers
are of, the list of the images, and notes on processes that ended.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from firstlight.disk import writing
from firstlight.errors import DataError
from firstlight.files import read_regular_text, write_text
from firstlight.integrations.ray_data.parts import PARTS, Of, read_note
from firstlight.locks import try_lock

HIDDEN, OF_FILE, LOCK_FILE, LIST_FILE, TODO_FILE, TRIES = ".firstlight", "of.json", "lock", "list", "todo", "tries"
ANOTHER = "choose a new folder"


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Hold a folder for the answers, made if there is none, and yield the hidden folder in it.

    Raises:
        DataError: if it is no folder, holds something else, or another process writes into it.
        WriteError: if it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise _refused(folder, "it is a file; choose a new folder, in which parts are written")
    hidden = folder / HIDDEN
    if folder.is_dir() and not hidden.is_dir() and any(not each.match(PARTS) for each in folder.iterdir()):
        raise _refused(folder, f"the folder holds something else; {ANOTHER}, or an empty one")
    with writing(folder):
        hidden.mkdir(parents=True, exist_ok=True)
        lock = (hidden / LOCK_FILE).open("w")
    with lock:
        if not try_lock(lock):
            raise _refused(folder, "another process is writing these answers; wait for it, or " + ANOTHER)
        shutil.rmtree(hidden / TRIES, ignore_errors=True)  # a new process finds out by itself what ends it
        try:
            yield hidden
        except DataError:
            if not (hidden / OF_FILE).exists():
                finish(folder)
                with suppress(OSError):
                    folder.rmdir()
            raise


def require_same(folder: Path, of: Of) -> None:
    """Note what the answers in a folder are of, or compare it with what was noted before.

    Raises:
        DataError: if they are of something else.
        WriteError: if it cannot be written.
    """
    before = _noted(folder)
    if before is None:
        write_text(folder / HIDDEN / OF_FILE, of.to_json() + "\n")
        return
    if before.model_sha256 != of.model_sha256:
        raise _refused(folder, f"it holds the answers of another model, {before.model_sha256[:12]}...; {ANOTHER}")
    if before.images != of.images:
        counts = f"{before.images:,} instead of {of.images:,}"
        raise _refused(folder, f"it holds the answers for another list of pictures, {counts}; {ANOTHER}")
    if before.names != of.names:
        raise _refused(folder, f"it holds the answers for {of.images:,} other pictures, or another order; {ANOTHER}")
    for name, value in asdict(of).items():
        if (noted := getattr(before, name)) != value:
            raise _refused(folder, f"it was begun with `{name}` {noted}, not {value}; {ANOTHER}, or the same choice")


def finish(folder: Path) -> None:
    """Remove what is needed only until all answers are there."""
    shutil.rmtree(folder / HIDDEN, ignore_errors=True)


def _noted(folder: Path) -> Of | None:
    file = folder / HIDDEN / OF_FILE
    try:
        if file.exists():
            return Of.from_json(read_regular_text(file))
        part = next(folder.glob(PARTS), None)
        return None if part is None else read_note(part)[0]
    except (OSError, ValueError, TypeError, KeyError):
        raise _refused(folder, f"what it holds cannot be read; {ANOTHER}") from None


def _refused(folder: Path, reason: str) -> DataError:
    return DataError(reason, field="out", value=str(folder))
