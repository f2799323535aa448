"""Long work shows itself: a bar with an ETA on a terminal, a plain line now and then when piped."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PLAIN_SECONDS = 10.0  # a piped log gets a line no oftener than this


@contextmanager
def progress(words: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield `advance(steps=1, words=None)`; everything goes to stderr, nothing remains of a finished bar.

    Args:
        words: what is being done, for a person.
        total: how many steps there are.
    """
    shown = _bar if sys.stderr.isatty() else _plain_lines
    with shown(words, total) as advance:
        yield advance


@contextmanager
def _bar(words: str, total: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total)

        def advance(steps: int = 1, words: str | None = None) -> None:
            bar.update(task, advance=steps, description=words)

        yield advance


@contextmanager
def _plain_lines(words: str, total: int) -> Iterator[Callable[..., None]]:
    done, started, spoken = 0, time.monotonic(), time.monotonic()
    current = words

    def advance(steps: int = 1, words: str | None = None) -> None:
        nonlocal done, spoken, current
        done, current, now = done + steps, words or current, time.monotonic()
        if now - spoken >= PLAIN_SECONDS and done < total:
            spoken = now
            left = (now - started) / max(done, 1) * (total - done)
            sys.stderr.write(f"{current}: {done:,} of {total:,}, about {left:.0f} s left\n")

    yield advance
