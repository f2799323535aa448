"""What is computed once and kept in the cache: opened if it is there and undamaged, else made.

Of processes that want to make the same at once, one does, and the others wait for it. What is damaged is moved away
before it is removed, so that a process which has it open can go on reading.
"""

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from firstlight.cache import OTHER_CACHE, cache_folder, writable_in_cache
from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.files import atomic_folder
from firstlight.locks import in_turn
from firstlight.progress import announce
from firstlight.unfinished import sweep, unfinished_beside
from firstlight.verified.blocks import DamagedError
from firstlight.verified.files import VerifiedFolder, VerifiedWriter

PATIENCE_SECONDS = 60.0  # with another process that makes the same, but writes nothing
UNUSED_SECONDS = 30 * 24 * 3600.0  # after which what an earlier version has kept is removed
_KEPT_NAME = re.compile(r"[0-9a-f]{32,}(?:\.\w+)?")  # of what we keep; other files in a cache folder are not ours

Opened = TypeVar("Opened")


@dataclass(frozen=True)
class Kind:
    """What a folder in the cache holds.

    Attributes:
        name: of the folder, before its version.
        version: counts up when the files hold something else.
        words: for a person, such as `packed pictures`.
    """

    name: str
    version: int
    words: str

    @property
    def folder(self) -> str:
        """The name of the folder."""
        return f"{self.name}-{self.version}"


def kept(
    kind: Kind, key: str, read: Callable[[VerifiedFolder], Opened], write: Callable[[VerifiedWriter], None]
) -> Opened:
    """Return what `read` makes of what is kept under a key; it is written first if it is not there, or is damaged.

    Args:
        kind: what it is.
        key: hex digits that depend on all that is written.
        read: opens the files.
        write: writes them.

    Raises:
        DataError: if what is damaged cannot be replaced.
        WriteError: if the cache cannot be written.
    """
    name = f"{kind.folder}/{key}"
    place = cache_folder() / name
    damage = None
    if os.path.lexists(place):
        try:
            return _opened(place, read)
        except DamagedError as error:
            damage = str(error)
    folder = writable_in_cache(name)
    with in_turn(
        folder.with_name(f".{key}.lock"),
        progress=lambda: _written(folder),
        patience=PATIENCE_SECONDS,
        on_wait=lambda: announce(f"note: another process is making the same {kind.words}; waiting for it"),
    ):
        if os.path.lexists(folder):
            try:
                return _opened(folder, read)  # another process has made it meanwhile
            except DamagedError as error:
                damage = str(error)
                discard(folder)
        if damage is not None:
            announce(f"note: the {kind.words} in the cache were damaged ({escape_name(damage)}); making them again")
        remove_earlier(folder.parent.parent, kind)
        try:
            return _made(folder, read, write)
        except DamagedError:  # where there are no locks, another process may have been in the way
            discard(folder)
        try:
            return _made(folder, read, write)
        except DamagedError as error:
            raise DataError(
                f"{folder}: what was just written there is damaged ({error}); the disk or the memory may be failing; "
                "set FIRSTLIGHT_CACHE to a folder on another disk"
            ) from None


def found(kind: Kind, key: str, read: Callable[[VerifiedFolder], Opened]) -> Opened | None:
    """Return what `read` makes of what is kept under a key; None if it is not there, or is damaged."""
    with suppress(DamagedError, FileNotFoundError):
        return _opened(cache_folder() / kind.folder / key, read)
    return None


def _made(folder: Path, read: Callable[[VerifiedFolder], Opened], write: Callable[[VerifiedWriter], None]) -> Opened:
    with atomic_folder(folder, OTHER_CACHE) as unfinished:
        writer = VerifiedWriter(unfinished)
        write(writer)
        writer.finish(folder.name)
    return read(VerifiedFolder(folder))  # what it cannot understand of this is a mistake of ours, and no damage


def discard(folder: Path) -> None:
    """Remove a folder, or whatever is in its place, from its name at once.

    Raises:
        DataError: if it cannot be removed.
    """
    gone = unfinished_beside(folder)
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(
            f"{folder} is damaged and cannot be replaced ({error.strerror}); remove it, or set FIRSTLIGHT_CACHE to "
            "another folder"
        ) from None
    if gone.is_dir() and not gone.is_symlink():
        shutil.rmtree(gone, ignore_errors=True)
    else:
        gone.unlink()


def remove_earlier(cache: Path, kind: Kind) -> None:
    """Remove what earlier versions have kept of a kind and nobody has used for `UNUSED_SECONDS`."""
    for folder in cache.glob(f"{kind.name}*"):
        version = re.fullmatch(rf"{kind.name}(?:-(\d+))?", folder.name)
        if version is None or int(version[1] or 0) >= kind.version or folder.is_symlink():
            continue
        remove_unused(folder)
        with suppress(OSError):
            folder.rmdir()


def remove_unused(folder: Path) -> None:
    """Remove what we have kept in a folder of the cache and nobody has used for `UNUSED_SECONDS`."""
    with suppress(OSError):
        for entry in [entry for entry in folder.iterdir() if _KEPT_NAME.fullmatch(entry.name)]:
            with suppress(OSError):
                if entry.lstat().st_mtime > time.time() - UNUSED_SECONDS:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()


def mark_as_used(path: Path) -> None:
    """Note that something in the cache is used now."""
    with suppress(OSError):
        os.utime(path)


def _opened(folder: Path, read: Callable[[VerifiedFolder], Opened]) -> Opened:
    """Open what is kept, and note that it is used.

    Raises:
        DamagedError: if it is damaged.
    """
    try:
        opened = read(VerifiedFolder(folder))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # as written, but by other code
        raise DamagedError(f"it cannot be understood: {error}") from None
    mark_as_used(folder)
    sweep(folder.parent)
    return opened


def _written(folder: Path) -> object:
    """Return something that changes while a process writes what shall become this folder."""
    found = []
    for unfinished in folder.parent.glob(f".{folder.name}.*.part"):
        with suppress(OSError):
            found += [(file.name, file.stat().st_size) for file in unfinished.iterdir()]
    return sorted(found)
