"""Which of the processes that train together see the same cache, so that only one of them writes what all read."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from firstlight.cache import writable_in_cache
from firstlight.runtime.distributed import world


def cache_writer() -> int:
    """Return the rank of the first process that sees the cache of this one: the one that writes into it."""
    here = world()
    if here.size == 1:
        return 0
    own = writable_in_cache(f"ranks/{secrets.token_hex(8)}")
    own.touch()
    names = here.gather_json(own.name)
    first = next(rank for rank, name in enumerate(names) if own.with_name(name).exists())
    here.barrier()
    with suppress(OSError):
        own.unlink()
    return first


@contextmanager
def written_once() -> Iterator[None]:
    """Let the first process of each cache run the block, and then all others: they find there what it has written."""
    here = world()
    writes = cache_writer() == here.rank
    if not writes:
        here.barrier()
    yield
    if writes:
        here.barrier()
