"""Work done by several threads, given back in order, with few items in flight: constant memory at any length."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Give `work(item)` for each item, in their order; the first failure stops the rest.

    Args:
        work: called from `workers` threads.
        items: read as far ahead as threads need, no further.
        workers: how many threads.
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
    """Cut `items` into tuples of `size`, the last one perhaps shorter."""
    waiting = iter(items)
    while chunk := tuple(islice(waiting, size)):
        yield chunk
