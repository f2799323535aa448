"""Hold Ctrl-C and SIGTERM back until training is between two steps.

Python raises KeyboardInterrupt wherever the program happens to be. In a finalizer or a callback it cannot, and the
interrupt is lost; in the middle of a step, it leaves half of the weights changed.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from firstlight.runtime.signals import SAME_SECONDS, hear, note_signal

_is_holding = False
_held: list[tuple[int, Callable[[], None]]] = []  # signals that wait, and what they would have done at once


@contextmanager
def holding_interrupts() -> Iterator[None]:
    """Within the block, let the first Ctrl-C or SIGTERM wait for `raise_if_interrupted`, or for the end of the block.

    An error that ends the block does not hide it. A second one acts at once. Outside the main thread, where Python
    handles no signals, nothing changes; nor within another such block.
    """
    global _is_holding  # noqa: PLW0603 - a process has one set of handlers
    if threading.current_thread() is not threading.main_thread() or _is_holding:
        yield
        return
    before, _is_holding = {}, True
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler):  # one that is ignored, or that ends the process, stays as it is
            before[number] = handler
            signal.signal(number, _holding(handler))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _is_holding = False
        raise_if_interrupted()


def raise_if_interrupted() -> None:
    """Do what the signal that waits would have done: as a rule, raise KeyboardInterrupt."""
    if _held:
        _held.pop()[1]()


def held_signal() -> int:
    """Return the number of the signal that waits; 0 if there is none."""
    return _held[-1][0] if _held else 0


def stop_by(number: int) -> None:
    """Do what a signal would have done that this process, or another one of the same run, has received."""
    raise_if_interrupted()
    hear(number)
    raise KeyboardInterrupt


def _holding(handler: Callable[[int, Any], Any]) -> Callable[[int, Any], None]:
    """Return a handler that lets the first signal wait, and hands the next one on at once, unless it is a mere copy."""
    since = 0.0

    def hold(number: int, frame: Any) -> None:
        nonlocal since
        if not _held:
            note_signal()
            since = time.monotonic()
            _held.append((number, lambda: handler(number, None)))
        elif time.monotonic() - since < SAME_SECONDS:
            note_signal()
        else:
            _held.clear()
            handler(number, frame)

    return hold
