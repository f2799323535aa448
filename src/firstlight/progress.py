"""Show the progress of long work on stderr: a bar with an ETA on a terminal, an occasional line when piped."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0  # at least; only where stderr is not a terminal


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield `advance(steps=1, description=None)`. Everything goes to stderr; a finished bar is removed.

    Args:
        description: what is being done, for a person.
        total: the number of steps.
    """
    show = _bar if sys.stderr.isatty() else _plain_lines
    with show(description, total) as advance:
        yield advance


@contextmanager
def _bar(description: str, total: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)

        def advance(steps: int = 1, description: str | None = None) -> None:
            bar.update(task, advance=steps, description=description)

        yield advance


@contextmanager
def _plain_lines(description: str, total: int) -> Iterator[Callable[..., None]]:
    done, started, last_line = 0, time.monotonic(), time.monotonic()
    current = description

    def advance(steps: int = 1, description: str | None = None) -> None:
        nonlocal done, last_line, current
        done, current, now = done + steps, description or current, time.monotonic()
        if now - last_line >= SECONDS_BETWEEN_LINES and done < total:
            last_line = now
            left = (now - started) / max(done, 1) * (total - done)
            sys.stderr.write(f"{current}: {done:,} of {total:,}, about {left:.0f} s left\n")

    yield advance
