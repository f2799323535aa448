"""Several processes that train together, as threads of one: quick enough for every test."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from firstlight.runtime.distributed import World, acting_in
from firstlight.runtime.process_groups import several

Found = TypeVar("Found")


def in_ranks(size: int, work: Callable[[World], Found]) -> list[Found]:
    """Return what `work` returns in each of `size` ranks, which it is called in at once; the first error is raised."""
    from torch.distributed import HashStore, ProcessGroupGloo

    tensors, messages = HashStore(), HashStore()

    def run(rank: int) -> Found:
        groups = (ProcessGroupGloo(store, rank, size, timedelta(seconds=20)) for store in (tensors, messages))
        with acting_in(several(World(rank, size, rank, size), *groups)) as joined:
            return work(joined)

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(run, range(size)))
