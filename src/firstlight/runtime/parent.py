"""A process that stops once the program that has started it has ended, however that was (Linux)."""

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1  # Linux's prctl.h


@contextmanager
def stopping_with_parent() -> Iterator[None]:
    """Within the block, receive SIGTERM when the parent ends, even by SIGKILL: training then saves its state."""
    _send_when_parent_ends(signal.SIGTERM)
    try:
        yield
    finally:
        _send_when_parent_ends(0)


def _send_when_parent_ends(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
