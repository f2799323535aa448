"""Names of files and folders that are not finished, and the removal of those whose process is gone.

A name is `.NAME.PLACE-PROCESS-RANDOM.part`. PLACE stands for all that shares its process numbers with this process:
the running system, and in it the container. Of a process elsewhere, only the age of what it left can be known.
"""

import functools
import hashlib
import os
import re
import secrets
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

ABANDONED_AFTER_SECONDS = 24 * 3600.0  # what a process elsewhere has not written to for so long has been left behind
_NAME = re.compile(
    r"(?:\..+\.|firstlight-)(?:(?P<place>[0-9a-f]{8})-(?P<process>\d+)-\w+|\d+-[0-9a-f]+)\.part", re.DOTALL
)
_swept: set[Path] = set()  # by this process


def unfinished_beside(path: Path) -> Path:
    """Return a new name beside `path` that says which process writes there."""
    return path.with_name(f".{path.name}.{_this_process()}-{secrets.token_hex(4)}.part")


def make_temporary_folder() -> Path:
    """Make a folder in the system's temporary folder, and remove those there that killed processes left.

    Raises:
        OSError: if there is no temporary folder, or it cannot be written.
    """
    import tempfile

    sweep(Path(tempfile.gettempdir()))
    return Path(tempfile.mkdtemp(prefix=f"firstlight-{_this_process()}-", suffix=".part"))


def sweep(folder: Path) -> None:
    """Remove what processes that are gone have left unfinished in a folder; once for each folder and process."""
    folder = folder.absolute()
    if folder in _swept:
        return
    _swept.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if entry.name.endswith(".part")]:
            with suppress(OSError):
                remove_abandoned(folder / name)


def remove_abandoned(path: Path) -> bool:
    """Remove an unfinished file or folder if its process is gone; return whether it was.

    Raises:
        OSError: if it cannot be removed, or is not there any more.
    """
    if not is_abandoned(path):
        return False
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return True


def is_abandoned(path: Path) -> bool:
    """Return whether this is the name of something unfinished whose process is gone.

    Raises:
        OSError: if it is not there any more.
    """
    found = _NAME.fullmatch(path.name)
    if found is None:
        return False
    if sys.platform != "win32" and found["place"] == _place():
        return not _lives(int(found["process"]))
    inside = path.iterdir() if path.is_dir() and not path.is_symlink() else ()
    newest: float = max(each.lstat().st_mtime for each in (path, *inside))
    return newest < time.time() - ABANDONED_AFTER_SECONDS


def _this_process() -> str:
    return f"{_place()}-{os.getpid()}"


@functools.cache
def _place() -> str:
    """Return 8 hex digits: others where the number of this process may be that of another."""
    known = [os.uname().nodename] if hasattr(os, "uname") else []
    with suppress(OSError):
        # note: a host's name does not tell its containers apart, nor before from after a restart
        known = [Path("/proc/sys/kernel/random/boot_id").read_text("ascii"), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.blake2b("\n".join(known).encode(), digest_size=4).hexdigest()


def _lives(process: int) -> bool:
    """Return whether a process of this system lives; not for Windows, where this would end it."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True
