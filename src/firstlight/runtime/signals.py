"""What a signal does to the command `firstlight`: the first one unwinds what is being done, a second one ends it.

While nothing is begun, and while libraries are imported, which cannot be unwound, the first one ends it at once.
Nothing that ends it at once can do harm: files are whole or absent, and an unfinished run can be resumed.

Only the command calls `receive_signals`; in Python, a KeyboardInterrupt comes and goes as everywhere else.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_SECONDS = 0.3  # programs that start others often pass on a signal that came to all of them already
STUCK_SECONDS = 3.0  # after a second signal; then the main thread is in code that is not Python's
RETRY_SECONDS = 0.02


@dataclass
class _Heard:
    """What this process has heard, and what it is doing.

    Attributes:
        signals: those that are not copies, and when they came.
        handled: how many were handled, copies included.
        told: whether the line that an interrupted command ends with is written.
        last_words: what is written to stdout if the process is ended at once.
        doing: `starting`: the first signal ends the process; `working`: it raises KeyboardInterrupt; `ending`: it is
            only noted.
    """

    signals: list[tuple[int, float]] = field(default_factory=list)
    handled: int = 0
    told: bool = False
    last_words: bytes = b""
    doing: str = "starting"


_heard = _Heard()


def receive_signals() -> None:
    """Take over Ctrl-C, SIGTERM and SIGHUP; those that are ignored, as by `nohup`, stay so."""
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _raise_again)
    sys.unraisablehook = _unraisable
    if sys.platform != "win32":
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        with suppress(RuntimeError):  # where no thread can be started, a second signal waits for the main one
            threading.Thread(target=_watch, args=(reading,), name="signals", daemon=True).start()


def last_words(text: bytes) -> None:
    """Set what a signal that ends the process at once writes to stdout: an answer, where none has begun."""
    _heard.last_words = text


def received_signal() -> int | None:
    """Return the last signal that was received, as its number."""
    return _heard.signals[-1][0] if _heard.signals else None


@contextmanager
def working() -> Iterator[None]:
    """Within the block, the first signal raises KeyboardInterrupt."""
    yield from _while("working")


@contextmanager
def importing() -> Iterator[None]:
    """Within the block, the first signal ends the process: libraries are not made to be interrupted while imported."""
    yield from _while("starting")


def tell_interrupted(line: str) -> None:
    """Write the one line that an interrupted command ends with to stderr, unless it is written already."""
    if _heard.told:
        return
    _heard.told = True
    with suppress(OSError, ValueError):
        on_terminal = os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb"
        clean = "\r\x1b[K\x1b[?25h" if on_terminal else ""  # without the bar that was there, and with the cursor
        os.write(2, f"{clean}{line}\n".encode("utf-8", "backslashreplace"))


def tell_nothing() -> None:
    """Leave the line that an interrupted command ends with to another process of the same run."""
    _heard.told = True


def leave(code: int) -> NoReturn:
    """End the process with this exit code, or that of a signal, without the interpreter's end.

    What is registered to be done at the end is done. The interpreter would take longer, might abort if libraries have
    threads of their own, and would not hear signals any more.
    """
    _heard.doing = "ending"
    with suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    _leave_now(code)


def _leave_now(code: int) -> NoReturn:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)  # from here on, it is too late
    if number := received_signal():
        tell_interrupted("firstlight: interrupted")
        with suppress(OSError):
            os.write(1, _heard.last_words)
        code = 128 + number
    os._exit(code)


def _while(doing: str) -> Iterator[None]:
    before, _heard.doing = _heard.doing, doing
    try:
        yield
    finally:
        _heard.doing = before


def note_signal() -> None:
    """Count a signal that somebody else handles."""
    _heard.handled += 1


def hear(number: int) -> None:
    """Count a signal that another process of the same run has received as if it had come here."""
    _heard.signals.append((number, time.monotonic()))


def _handle(number: int, frame: Any) -> None:
    if frame is not None:  # if not, it was held back, and noted when it came
        note_signal()
    now = time.monotonic()
    if _heard.signals and now - _heard.signals[0][1] < SAME_SECONDS:
        return
    _heard.signals.append((number, now))
    if len(_heard.signals) > 1 or _heard.doing == "starting":
        _leave_now(0)
    if _heard.doing == "working":
        raise KeyboardInterrupt


def _raise_again(_number: int, _frame: Any) -> None:
    if _heard.doing == "working":
        raise KeyboardInterrupt


def _unraisable(found: Any) -> None:
    """Raise an interrupt again that came where Python can raise nothing, such as in a finalizer."""
    if _heard.signals and issubclass(found.exc_type, KeyboardInterrupt) and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
    else:
        sys.__unraisablehook__(found)


def _watch(reading: int) -> None:
    """End the process by a second signal if the main thread does not get to handle it."""
    came: list[float] = []
    while number := os.read(reading, 1):
        if number[0] not in NUMBERS:
            continue
        came.append(time.monotonic())
        if came[-1] - came[0] > SAME_SECONDS:
            time.sleep(STUCK_SECONDS)
            if _heard.handled < len(came):
                _heard.signals.append((number[0], came[-1]))
                _leave_now(0)
