"""Disks: whether there is room for what is to be written, and in plain words why something could not be written."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firstlight.errors import NoRoomError, WriteError
from firstlight.escaping import escape_name

MAX_PATH = 300  # characters of a path in a message
MARGIN = 1.05  # free bytes wanted for each byte to be written: file systems keep some for themselves
_CODE_IN_TEXT = re.compile(r"\(os error (\d+)\)")  # as safetensors tells it
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # as NumPy tells it


def require_room(folder: Path, needed: int, what: str, advice: str) -> None:
    """Refuse to begin what a disk has no room for.

    Args:
        folder: where it would be written; it need not exist yet.
        needed: bytes.
        what: needs the room, to begin the message with, such as `packing digits`.
        advice: what to do about it.

    Raises:
        NoRoomError: if there is less room.
    """
    free = free_bytes(folder)
    if free is not None and needed * MARGIN > free:
        where, wanted, there = escape_name(str(folder), MAX_PATH), in_units(needed), in_units(free)
        if wanted == there:
            raise NoRoomError(f"{what} needs a little more than the {there} that are free in {where}", advice)
        raise NoRoomError(f"{what} needs {wanted} in {where}, but only {there} are free", advice)


def free_bytes(path: Path) -> int | None:
    """Return how many bytes can be written at a path, which need not exist; None if the system does not say."""
    for place in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def in_units(count: int) -> str:
    """Return a number of bytes for people: `812 bytes`, `3.4 kB`, `51 MB`, `1.2 GB`."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:,.{1 if count < 10 * size else 0}f} {unit}"
    return f"{count} bytes"


@contextmanager
def writing(path: Path, advice: str = "") -> Iterator[None]:
    """Within the block, turn an error of writing to a path into a `WriteError`, which says why and what to do.

    Args:
        path: the file or the folder that is written.
        advice: what to do about it, besides what the reason itself suggests.

    Raises:
        WriteError: if it cannot be written.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        failure = None if _is_elsewhere(error, path) else write_error_of(error, path, advice)
        if failure is None:
            raise
        raise failure from None


def write_error_of(error: Exception, path: Path, advice: str = "") -> WriteError | None:
    """Return an error of writing to a path with its reason in plain words; None if this is an error of another kind.

    Args:
        error: an OSError, or whatever a library made of one.
        path: the file or the folder that is written.
        advice: what to do, besides what the reason itself suggests.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _CODE_IN_TEXT.search(str(error))):
        number = int(found[1])
    elif number is None and _CUT_SHORT.search(str(error)):
        number = errno.ENOSPC
    why, remedy = _reason(number, path)
    if not why:
        return None
    remedies = f"{remedy}, {advice}" if advice else remedy
    name = escape_name(str(path), MAX_PATH)
    return WriteError(f"{name} cannot be written: {why}; {remedies}", path=path, why=why, number=number)


def _is_elsewhere(error: Exception, path: Path) -> bool:
    """Return whether an error names a file that is in another folder, such as one that was read meanwhile."""
    name = getattr(error, "filename", None)
    return isinstance(name, str | os.PathLike) and not Path(name).is_relative_to(path.parent)


def _reason(number: int | None, path: Path) -> tuple[str, str]:
    """Return why nothing can be written, and what to do; empty if it is for another reason."""
    if number == errno.ENOSPC:
        return "the disk is full", "free some room"
    missing = _missing_folder(path)
    gone = (
        f"the folder {escape_name(str(missing), MAX_PATH)} does not exist",
        "create it, and start again",
    )
    return {
        errno.EDQUOT: ("your quota on this disk is used up", "delete some of your files there"),
        errno.EROFS: ("the disk is read-only", "make it writable"),
        errno.EACCES: ("you are not allowed to write there", "change the permissions"),
        errno.EPERM: ("you are not allowed to write there", "change the permissions"),
        errno.EIO: ("the disk reports an error", "check the disk"),
        errno.EFBIG: ("this file is larger than you are allowed to make", "raise the limit (ulimit -f)"),
        errno.ENOENT: gone if missing else ("", ""),
        errno.ENOTDIR: gone if missing else ("", ""),
        errno.ESTALE: gone if missing else ("", ""),
    }.get(number or 0, ("", ""))


def _missing_folder(path: Path) -> Path | None:
    """Return the outermost folder around a path that does not exist; None if all do."""
    missing = [folder for folder in path.parents if not os.path.isdir(folder)]  # noqa: PTH112 - never raises
    return missing[-1] if missing else None
