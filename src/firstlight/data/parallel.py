"""Do work in several threads and yield the results in order, with constant memory however many items there are."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, most: int | None = None
) -> Iterator[Result]:
    """Yield `work(item)` for each item, in order; the first exception ends it.

    Args:
        work: called from `workers` threads.
        items: read no further ahead than the threads need.
        workers: number of threads.
        most: how many items to read ahead where one of them takes long, so that the other threads go on; at least
            twice the threads, which is the default.

    >>> list(in_order(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    waiting = iter(items)
    usual = 2 * workers
    with ThreadPoolExecutor(workers) as threads:
        running: deque[Future[Result]] = deque(threads.submit(work, item) for item in islice(waiting, usual))
        try:
            while running:
                while len(running) < (most or 0) and not running[0].done():
                    unfinished = [future for future in running if not future.done()]
                    if len(unfinished) >= usual:
                        wait(unfinished, return_when=FIRST_COMPLETED)
                    elif next_one := [threads.submit(work, item) for item in islice(waiting, 1)]:
                        running.extend(next_one)
                    else:
                        break
                yield running.popleft().result()
                running.extend(threads.submit(work, item) for item in islice(waiting, max(0, usual - len(running))))
        finally:
            for future in running:
                future.cancel()


def chunks_of(size: int, items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    """Yield `items` in tuples of `size`; the last one may be shorter."""
    waiting = iter(items)
    while chunk := tuple(islice(waiting, size)):
        yield chunk
