"""Where computed files are kept: the user's cache folder, or a temporary one for this process.

A folder that cannot be written stops nothing: one line says so, and how to choose another.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.files import expand_user
from firstlight.unfinished import make_temporary_folder

_ADVICE = "set FIRSTLIGHT_CACHE to a writable folder"
OTHER_CACHE = "or set FIRSTLIGHT_CACHE to a folder on a larger disk"  # advice where the cache is full


# Of this process: the temporary folders that stand in for caches, by the cache's place, and the places that work.
_stand_ins: dict[Path | None, Path] = {}
_writable: set[Path] = set()


def cache_folder() -> Path:
    """Return the cache folder: `FIRSTLIGHT_CACHE`, else a folder in the user's cache folder.

    If that cannot be written, or there is no home folder, it is a temporary folder from the first write on.
    """
    place = _place()
    if place is None or place in _stand_ins:
        return _temporary(place, "there is no home folder")
    return place


def writable_cache_folder() -> Path:
    """Return the same folder, made and known to be writable; a temporary one, with one line on stderr, if it is not.

    Raises:
        DataError: if no temporary folder can be made either.
    """
    place = _place()
    if place is None or place in _stand_ins or place in _writable:
        return cache_folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return _temporary(place, _why(place, error))
    _writable.add(place)
    return place


def writable_in_cache(name: str) -> Path:
    """Return a path in the writable cache folder, after making the folders that it is in.

    Where something else is in their place, or they cannot be written, the path is in a temporary folder.

    Raises:
        DataError: if no temporary folder can be made.
    """
    path = writable_cache_folder() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _writable:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
            _writable.add(path.parent)
    except OSError as error:
        path = _temporary(_place(), _why(path.parent, error)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _place() -> Path | None:
    """Return the folder that the environment asks for; None if it names none and there is no home folder."""
    if given := os.environ.get("FIRSTLIGHT_CACHE"):
        return expand_user(given)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return None if str(expand_user(home)).startswith("~") else expand_user(home) / "firstlight"


def _why(place: Path, error: OSError) -> str:
    is_file = isinstance(error, FileExistsError | NotADirectoryError)
    reason = "a file is in its place" if is_file else error.strerror
    return f"{escape_name(str(place))} cannot be written ({reason})"


def _temporary(place: Path | None, why: str) -> Path:
    if place not in _stand_ins:
        try:
            folder = make_temporary_folder()
        except OSError as error:
            raise DataError(f"{why}, and there is no temporary folder ({error.strerror}); {_ADVICE}") from None
        atexit.register(_remove, folder, os.getpid())
        _stand_ins[place] = folder
        sys.stderr.write(f"note: {why}; packed pictures are kept in {folder} until firstlight ends; {_ADVICE}\n")
    return _stand_ins[place]


def _remove(folder: Path, process: int) -> None:
    if process == os.getpid():  # and not one that was forked from it
        shutil.rmtree(folder, ignore_errors=True)
