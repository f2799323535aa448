"""Do work in several threads and yield the results in order, with constant memory however many items there are."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield `work(item)` for each item, in order; the first exception ends it.

    Args:
        work: called from `workers` threads.
        items: read no further ahead than the threads need.
        workers: number of threads.

    >>> list(in_order(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    waiting = iter(items)
    with ThreadPoolExecutor(workers) as threads:
        running: deque[Future[Result]] = deque(threads.submit(work, item) for item in islice(waiting, 2 * workers))
        try:
            while running:
                yield running.popleft().result()
                running.extend(threads.submit(work, item) for item in islice(waiting, 1))
        finally:
            for future in running:
                future.cancel()


def chunks_of(size: int, items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    """Yield `items` in tuples of `size`; the last one may be shorter."""
    waiting = iter(items)
    while chunk := tuple(islice(waiting, size)):
        yield chunk
