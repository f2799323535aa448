"""How an unfinished run was begun, in `last/`: what has to be the same for it to end with the same bits.

The folder of such a run belongs to one process at a time, which holds the lock in it.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from firstlight.disk import writing
from firstlight.errors import RunError, WriteError
from firstlight.files import read_regular, write_json, write_text
from firstlight.locks import try_lock
from firstlight.runs.folder import LAST_FOLDER, MODEL_FILE, RECIPE_FILE, RECORD_FILE

BEGUN_FILE, LOCK_FILE, TEST_FILE = "begun.json", "lock", "test.json"
ATTEMPTS = 20  # to make a lock file that another process removes meanwhile
# All that a run writes into `last/`; what else is there belongs to somebody else.
_OURS = re.compile(
    rf"{BEGUN_FILE}|{LOCK_FILE}|{TEST_FILE}|{RECIPE_FILE}|(?:training|finetune-\w+)\.safetensors|\..+\.part|\.tmp\w{{6}}"
)


class TakenError(RunError):
    """A run that this process cannot go on with: another one is training it, or has finished it meanwhile."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What the bits of a run depend on besides its recipe.

    Attributes:
        source_key: identifies the packed images.
        split_key: identifies their labels, and the rows of each split.
        weights: the SHA-256 of the pretrained weights; None if there are none.
        score_test: whether the test split will be scored.
        surroundings: everything else, by its name for people, such as `PyTorch`: `2.14.1`.
    """

    source_key: str
    split_key: str
    weights: str | None
    score_test: bool
    surroundings: dict[str, str]


def asked_file(folder: Path) -> Path:
    """Return where the recipe and the source of a run are, as they were asked for, before open choices were filled."""
    return folder / LAST_FOLDER / RECIPE_FILE


def write_begun(folder: Path, begun: Begun, asked: str) -> None:
    """Write how a run was begun into its folder.

    Args:
        folder: the run folder.
        begun: what its bits depend on.
        asked: the recipe and the source, as TOML.
    """
    write_text(asked_file(folder), asked)
    write_json(folder / LAST_FOLDER / BEGUN_FILE, msgspec.to_builtins(begun))


def is_begun(folder: Path) -> bool:
    """Return whether a folder holds a run that is not finished."""
    return (folder / LAST_FOLDER / BEGUN_FILE).is_file()


def is_finished(folder: Path) -> bool:
    """Return whether a folder holds a run that has ended, with a model."""
    return not is_begun(folder) and all((folder / name).is_file() for name in (RECIPE_FILE, RECORD_FILE, MODEL_FILE))


def read_begun(folder: Path) -> Begun:
    """Return how an unfinished run was begun.

    Raises:
        RunError: if it is finished, there is no run, or the file is damaged.
    """
    file = folder / LAST_FOLDER / BEGUN_FILE
    try:
        return msgspec.convert(json.loads(read_regular(file)), Begun)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder}: {_why_not(folder)}, so there is nothing to resume") from None
    except (OSError, ValueError, RecursionError, msgspec.ValidationError):
        raise RunError(f"{file}: it is damaged, so the run cannot be resumed; train again in another folder") from None


def _why_not(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    return "this run is finished" if (folder / RECIPE_FILE).is_file() else "this is not a run folder"


@contextmanager
def owning(folder: Path) -> Iterator[None]:
    """Hold the folder of an unfinished run for this process; the lock of a process that is dead is free.

    Whatever such a process left half-written is removed. So is `last/`, at the end, if the run has ended.

    Raises:
        TakenError: if another process holds it.
    """
    place = folder / LAST_FOLDER
    with ExitStack() as files:
        while True:
            lock = files.enter_context(_opened_lock(place / LOCK_FILE))
            if not try_lock(lock):
                raise TakenError(
                    f"{folder}: process {_holder(lock)} is training this run; wait until it is done, or stop it"
                )
            if _is_at(lock, place / LOCK_FILE):  # if not, whoever held it has removed it meanwhile
                break
        with suppress(OSError):  # only messages need it
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        for litter in (*folder.rglob(".*.part"), *folder.rglob(".tmp??????")):  # ours, and that of safetensors
            litter.unlink(missing_ok=True)
        try:
            yield
        finally:
            if not (place / BEGUN_FILE).exists():
                _remove_state(place)


def _opened_lock(file: Path) -> IO[str]:
    """Open a lock file, which is made if need be; if it cannot be, an empty run folder is removed."""
    try:
        with writing(file):
            for _ in range(ATTEMPTS):
                file.parent.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):  # a process that has just ended its run has removed it
                    return file.open("a+", encoding="ascii")
            return file.open("a+", encoding="ascii")
    except WriteError:
        for folder in (file.parent, file.parents[1]):
            with suppress(OSError):
                folder.rmdir()
        raise


def require_new(folder: Path) -> None:
    """Refuse to begin a run in a folder that holds anything but the lock of this process.

    Raises:
        RunError: if it does: another process has begun a run there, and perhaps ended it.
    """
    if any(path.name != LAST_FOLDER for path in folder.iterdir()) or is_begun(folder):
        raise RunError(
            "another process has started a run there in the meantime; choose a new folder",
            field="out",
            value=str(folder),
        )


def clear_what_is_over(folder: Path) -> None:
    """Remove `last/` of a run whose process was killed just before it had begun, or just after it had ended.

    A folder of the user's that has this name stays as it is.
    """
    place = folder / LAST_FOLDER
    if _holds_only_ours(place) and not is_begun(folder):
        with suppress(TakenError), owning(folder):  # which removes it
            pass


def _holds_only_ours(place: Path) -> bool:
    """Return whether this is the folder of a run's state, and nothing else is in it."""
    if place.is_symlink() or not place.is_dir():
        return False
    names = [path.name for path in place.iterdir()]
    return all(map(_OURS.fullmatch, names)) and (LOCK_FILE in names or not names)


def _remove_state(place: Path) -> None:
    """Remove what a run has written into `last/`: the lock last, so that what a kill leaves is known to be ours."""
    with suppress(OSError):
        for file in place.iterdir():
            if _OURS.fullmatch(file.name) and file.name != LOCK_FILE:
                file.unlink()
        (place / LOCK_FILE).unlink(missing_ok=True)
        place.rmdir()


def _holder(lock: IO[str]) -> str:
    """Return the number of the process that holds a lock, which it may be about to write."""
    for _ in range(100):
        lock.seek(0)
        if number := lock.read(20).strip():
            return number
        time.sleep(0.01)
    return "unknown"


def _is_at(file: IO[str], path: Path) -> bool:
    """Return whether an open file is the one that is at this path now."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def is_test_counted(folder: Path, counted: int) -> bool:
    """Return whether a run that was stopped has counted its look at the test split; if not, it is about to.

    That it is about to is known until the run ends, so that a run counts one look, however often it is resumed.

    Args:
        folder: the run folder.
        counted: how many evaluations of the test split its record holds.
    """
    file = folder / LAST_FOLDER / TEST_FILE
    with suppress(
        OSError, ValueError, KeyError, TypeError
    ):  # of one that is damaged: it is counted, rather once too often
        before: int = json.loads(read_regular(file))["counted_before"]
        return counted > before
    if file.parent.is_dir():
        write_json(file, {"counted_before": counted})
    return False


def end_run(folder: Path) -> None:
    """Remove the state of a run that is finished; from the first file that goes, there is nothing to resume."""
    (folder / LAST_FOLDER / BEGUN_FILE).unlink(missing_ok=True)
    _remove_state(folder / LAST_FOLDER)
