"""Locks between processes: on a file, and for work that one does while the others wait."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # some network file systems have none; then we do without
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.5


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file for this process until it is closed; return False if another process has locked it.

    Where there are no locks, it counts as free.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


@contextmanager
def in_turn(
    file: Path, *, progress: Callable[[], object], patience: float, on_wait: Callable[[], None]
) -> Iterator[bool]:
    """Hold the lock `file`, which exists only as long; yield whether it is held. Its name has to end in `.lock`.

    It is not where the file system has no locks, or the holder has made no progress for too long: it may have been
    stopped. So nothing may break if two processes go on at once. The lock of a process that ends is free.

    Args:
        file: made if there is none, and removed at the end.
        progress: returns something that changes while the holder makes progress.
        patience: seconds to wait after the last progress.
        on_wait: is called once if there is anybody to wait for.
    """
    _remove_free(file.parent)
    descriptor = _lock(file, progress, patience, on_wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with suppress(OSError):
                file.unlink()
            os.close(descriptor)


def _remove_free(folder: Path) -> None:
    """Remove the locks of processes that were killed."""
    for file in folder.glob(".*.lock") if sys.platform != "win32" else ():
        with suppress(OSError):
            descriptor = _try_lock(file)
            file.unlink()
            os.close(descriptor)


def _lock(file: Path, progress: Callable[[], object], patience: float, on_wait: Callable[[], None]) -> int | None:
    """Return the descriptor that holds the lock; None if it cannot be had."""
    pause, seen, since, attempts = FIRST_PAUSE_SECONDS, None, time.monotonic(), 0
    while True:
        try:
            return _try_lock(file)
        except BlockingIOError:
            pass
        except OSError:
            return None
        attempts += 1
        if attempts == 2:  # the first time, somebody may only have looked whether it is free
            on_wait()
        if (now := progress()) != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since > patience:
            return None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _try_lock(file: Path) -> int:
    """Return the descriptor that holds the lock.

    Raises:
        BlockingIOError: if another process holds it.
        OSError: if there are no locks here.
    """
    if sys.platform == "win32":
        raise OSError
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder has removed it meanwhile
