"""Show what long work is doing: a bar with an ETA on a terminal and in notebooks, an occasional line when piped.

Everything goes to stderr, except in notebooks. With FIRSTLIGHT_PROGRESS=off nothing is shown.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from firstlight.notebook import NotebookWork, in_notebook

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 10.0  # at least; only where stderr is not a terminal

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)
_silent: ContextVar[bool] = ContextVar("silent", default=False)
_going_on: "list[_Work]" = []  # the innermost last


def announce(line: str) -> None:
    """Announce what begins now, such as a download; in Python, nothing is shown unless a listener is set."""
    if (listener := _listener.get()) is not None:
        listener(line)


@contextmanager
def announcements_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Call `listener` with each line that is announced within the block, as the command line does."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def silence() -> Iterator[None]:
    """Show nothing of the work within the block."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def is_silent() -> bool:
    """Return whether nothing is to be shown."""
    return _silent.get()


@contextmanager
def progress(description: str, total: int, unit: str = "") -> Iterator[Callable[..., None]]:
    """Yield `advance(steps=1, description=None)`. Everything goes to stderr; a finished bar is removed.

    Args:
        description: what is being done, for a person.
        total: the number of steps.
        unit: what the steps are, such as `pictures`.
    """
    with _shown(description, total, unit) as work:
        yield work.advance


@contextmanager
def phase(description: str) -> Iterator[None]:
    """Show what is being done within the block, when there are no steps to count; only on a terminal."""
    with _shown(description, None, ""):
        yield


def keep(line: str) -> None:
    """Leave a line above the bar of the current work; in a pipe, only now and then."""
    if _going_on:
        _going_on[-1].keep(line)


class _Work(Protocol):
    """Work that is shown."""

    def advance(self, steps: int = 1, description: str | None = None) -> None: ...

    def keep(self, line: str) -> None: ...

    def end(self) -> None: ...


@contextmanager
def _shown(description: str, total: int | None, unit: str) -> Iterator[_Work]:
    if _silent.get() or os.environ.get("FIRSTLIGHT_PROGRESS") == "off":
        kind: Any = _Nothing
    else:
        kind = NotebookWork if in_notebook() else _Bar if sys.stderr.isatty() else _Lines
    work: _Work = kind(description, total, unit)
    _going_on.append(work)
    try:
        yield work
    finally:
        _going_on.remove(work)
        work.end()


class _Nothing:
    """Work that is not shown."""

    def __init__(self, _description: str, _total: int | None, _unit: str) -> None: ...

    def advance(self, steps: int = 1, description: str | None = None) -> None: ...

    def keep(self, line: str) -> None: ...

    def end(self) -> None: ...


class _Lines:
    """Work that is shown in a pipe: an occasional line that says how much is done."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = 0
        self.started = self.last_line = time.monotonic()

    def advance(self, steps: int = 1, description: str | None = None) -> None:
        self.done, self.description, now = self.done + steps, description or self.description, time.monotonic()
        if self.total is not None and self.done < self.total and self._is_due(now):
            left = (now - self.started) / max(self.done, 1) * (self.total - self.done)
            unit = f" {self.unit}" if self.unit else ""
            sys.stderr.write(f"{self.description}: {self.done:,} of {self.total:,}{unit}, about {left:.0f} s left\n")

    def keep(self, line: str) -> None:
        if self._is_due(time.monotonic()):
            sys.stderr.write(f"{line}\n")

    def end(self) -> None: ...

    def _is_due(self, now: float) -> bool:
        if now - self.last_line < SECONDS_BETWEEN_LINES:
            return False
        self.last_line = now
        return True


class _Bar:
    """Work that is shown on a terminal: a bar while it runs, instead of the bar of the work that it is part of."""

    display: "Progress | None" = None  # one for all work, since a terminal has one last line

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        if _Bar.display is None:
            _Bar.display = _open_display()
            _Bar.display.start()
        self.outer = next((work for work in reversed(_going_on) if isinstance(work, _Bar)), None)
        if self.outer:
            _Bar.display.update(self.outer.task, visible=False)
        self.task: TaskID = _Bar.display.add_task(description, total=total, unit=unit)

    def advance(self, steps: int = 1, description: str | None = None) -> None:
        if _Bar.display:
            _Bar.display.update(self.task, advance=steps, description=description)

    def keep(self, line: str) -> None:
        if _Bar.display:
            _Bar.display.console.print(line, markup=False, highlight=False)

    def end(self) -> None:
        if _Bar.display is None:
            return
        _Bar.display.remove_task(self.task)
        if self.outer:
            _Bar.display.update(self.outer.task, visible=True)
        if not any(isinstance(work, _Bar) for work in _going_on):
            _Bar.display.stop()
            _Bar.display = None


def _open_display() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class Count(ProgressColumn):
        """How much is done, as `120 of 1,259 pictures`."""

        def render(self, task: Any) -> Text:
            if task.total is None:
                return Text("")
            return Text(f"{task.completed:,.0f} of {task.total:,.0f} {task.fields['unit']}".rstrip())

    class Seconds(ProgressColumn):
        """How much time is left, or, if that is unknown, how long it has been running."""

        def render(self, task: Any) -> Text:
            left = task.time_remaining
            if task.total is None or left is None:
                return Text(_clock(task.elapsed or 0.0) if task.total is None else "")
            return Text(f"{_clock(left)} left")

    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), Count(), Seconds())
    return Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, get_time=time.monotonic
    )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
