"""The processes that train together, as torchrun starts them: which one this is, and what they tell each other.

Every process calls the same functions in the same order, from its main thread. With a single process all of them
return at once, and `torch.distributed` is not imported; `process_groups.py` has what several do.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from firstlight.errors import RunError
from firstlight.runtime.interrupts import raise_if_interrupted
from firstlight.runtime.rendezvous import text_in

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import Store

LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL communicator was aborted")


class LostError(RunError):
    """Another process of this run has ended, so that this one cannot go on."""

    def __init__(self, why: str = "", *notes: str) -> None:
        super().__init__("; ".join([why or "another process of this run has ended, so this one stops", *notes]))


@dataclass(frozen=True)
class World:
    """The processes that train together; here, one alone.

    Attributes:
        rank: of this process, from 0; rank 0 leads: it alone writes and talks to people.
        size: how many there are.
        local_rank: of this process among those on its machine.
        local_size: how many there are on its machine.
        restarts: how often torchrun has started all of them anew, because one had died or another machine had come.
        store: of torchrun, which outlives the processes; None if it has not started them.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0
    store: "Store | None" = field(default=None, repr=False)

    @property
    def is_leader(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def sum(self, tensor: "Tensor") -> "Tensor":
        """Return the sum of a tensor over all processes, in place. The order of summation may depend on their number.

        Sums of whole numbers do not.
        """
        return tensor

    def sum_later(self, tensor: "Tensor") -> "Callable[[], Tensor]":
        """Begin to sum a tensor, likewise; return a function that waits for the sum and returns it."""
        return lambda: tensor

    def gather(self, tensor: "Tensor") -> "list[Tensor]":
        """Return the tensors of all processes, by rank; their first dimensions may differ, the others may not."""
        return [tensor]

    def gather_json(self, value: Any) -> list[Any]:
        """Return the JSON values of all processes, by rank."""
        return [value]

    def from_leader(self, value: Any = None) -> Any:
        """Return the JSON value of rank 0, whatever the others give; they wait for it as long as it takes."""
        return value

    def bytes_from_leader(self, data: bytes | None = None) -> bytes | None:
        """Return the bytes of rank 0, or its None, likewise."""
        return data

    def copy_from_leader(self, tensor: "Tensor") -> None:
        """Overwrite a tensor with that of rank 0."""

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in any process."""
        return flag

    def barrier(self) -> None:
        """Wait until all processes are here."""

    def raise_if_interrupted(self) -> None:
        """Do what `interrupts.raise_if_interrupted` does, in all processes, if a signal waits in any."""
        raise_if_interrupted()

    def heartbeat(self) -> "Heartbeat":
        """Return what keeps the processes together while they train."""
        return Heartbeat()


@dataclass
class Heartbeat:
    """What the processes tell each other in each step of training: whether to stop or to save, and the time."""

    _now: float | None = None

    def beat(self, stop: int = 0, *, save: bool = False) -> tuple[int, bool]:
        """Return the number of a signal by which to stop, or 0, and whether to save the state of training now.

        All processes return the same: what any of them gave in the beat before. One alone returns its own at once.
        """
        return stop, save

    def clock(self) -> float:
        """Return seconds, the same in all processes: of rank 0 at the last beat. One alone reads its own clock."""
        return time.perf_counter()


ALONE = World()
_world: ContextVar[World] = ContextVar("world", default=ALONE)


def world() -> World:
    """Return the processes that train together; outside `joining`, and in other threads, this one alone."""
    return _world.get()


@contextmanager
def acting_in(joined: World) -> Iterator[World]:
    """Let `world()` be this one within the block, in this thread."""
    token = _world.set(joined)
    try:
        yield joined
    finally:
        _world.reset(token)


@contextmanager
def alone() -> Iterator[None]:
    """Let `world()` be this process alone within the block: for what only one process does."""
    with acting_in(ALONE):
        yield


def launched() -> World:
    """Return what torchrun's environment says of this process; one alone where there is none."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(os.environ.get(name) for name in names):
        return World()
    rank, size, local_rank, local_size = (int(os.environ[name]) for name in names[:4])
    return World(rank, size, local_rank, local_size)


def own_name() -> str:
    """Return how this program was started, in words for the person who starts it again."""
    return "firstlight" if launched().size == 1 else "torchrun ... -m firstlight"


def is_lost(error: BaseException | None) -> bool:
    """Return whether an error says that another process has ended."""
    return isinstance(error, LostError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in LOST)
    )


def remember(text: str) -> None:
    """Remember a text until torchrun ends, also if it starts all processes anew; called by rank 0."""
    if (store := world().store) is not None:
        store.set("memory", text)


def remembered() -> str | None:
    """Return what was remembered at the same place of the program before torchrun started all processes anew."""
    store = world().store
    return text_in(store, "memory") or None if store is not None else None
