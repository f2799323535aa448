"""The processes that train together, as torchrun starts them: which one this is, and what they tell each other.

Every process calls the same functions in the same order, from its main thread. With a single process all of them
return at once, and `torch.distributed` is not imported. Nothing is pickled: tensors, bytes and JSON are sent.

Tensors on a GPU are sent by NCCL, those on the CPU by gloo; messages always by gloo.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from firstlight.errors import RunError, UserError
from firstlight.runtime.interrupts import held_signal, raise_if_interrupted, stop_by
from firstlight.runtime.parent import stopping_with_parent
from firstlight.runtime.rendezvous import last_text_in, meet, open_store, text_in

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist
    from torch import Tensor
    from torch.distributed import Store

STEP_MINUTES = 30  # that a process may wait for the tensors of the others
MESSAGE_DAYS = 30  # for a message, since others may do long work of their own; torchrun ends who waits for the dead
SIGNAL_SECONDS = 1.0  # between looks for signals while this process waits
PATIENCE_SECONDS = 10.0  # with the others, once a signal has come; they may hang
FAULT = "fault"  # in the store: why a process has ended
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


_ALONE = World()
_world: ContextVar[World] = ContextVar("world", default=_ALONE)


def world() -> World:
    """Return the processes that train together; outside `joining`, and in other threads, this one alone."""
    return _world.get()


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


@contextmanager
def joining() -> Iterator[World]:
    """Join the other processes within the block, if torchrun has started several; yield the world.

    Raises:
        LostError: if one of them ends meanwhile; it says why, if that is known.
    """
    if world() is not _ALONE:
        yield world()
        return
    found = launched()
    if not (found.size > 1 or "TORCHELASTIC_RUN_ID" in os.environ) or "MASTER_PORT" not in os.environ:
        with acting_in(found):
            yield found
        return
    from torch.distributed import PrefixStore

    _joins.count += 1
    store = PrefixStore(str(_joins.count), open_store(found.rank))
    meeting = meet(store, found.rank, found.size)
    found = replace(found, restarts=meeting.starts - 1, store=store)
    if found.size == 1:
        with acting_in(found), stopping_with_parent():
            yield found
        return
    with _groups(found, meeting.store) as groups, acting_in(several(found, *groups)), stopping_with_parent():
        try:
            yield world()
        except KeyboardInterrupt as stop:
            if found.is_leader and (why := last_text_in(meeting.store, FAULT)):
                stop.add_note(why)
            raise
        except Exception as error:
            if is_lost(error):
                raise LostError(last_text_in(meeting.store, FAULT), *getattr(error, "__notes__", ())) from error
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            meeting.store.set(FAULT, f"process {found.rank} of {found.size}, on {platform.node()}: {reason}")
            raise


def several(found: World, tensors: "dist.ProcessGroup", messages: "dist.ProcessGroup") -> World:
    """Return a world of several processes.

    Args:
        found: which one this is.
        tensors: the group that sends tensors.
        messages: the group that sends everything else.
    """
    return _Joined(**vars(found), tensors=tensors, messages=messages)


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
    with acting_in(_ALONE):
        yield


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


@dataclass
class _Joins:
    """How often this process has joined the others: a program may train several times."""

    count: int = 0


_joins = _Joins()


@contextmanager
def _groups(found: World, store: "Store") -> "Iterator[tuple[dist.ProcessGroup, dist.ProcessGroup]]":
    """Yield the groups that send tensors and messages; who belongs to them is found out through the store."""
    import torch
    import torch.distributed as dist

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    minutes = timedelta(minutes=STEP_MINUTES)
    dist.init_process_group(backend, store=store, rank=found.rank, world_size=found.size, timeout=minutes)
    try:
        assert dist.group.WORLD is not None
        yield dist.group.WORLD, dist.new_group(backend="gloo", timeout=timedelta(days=MESSAGE_DAYS))
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class _Joined(World):
    """Several processes, which have joined two groups.

    Attributes:
        tensors: the group that sends tensors.
        messages: the group for everything else.
    """

    tensors: "dist.ProcessGroup" = field(kw_only=True, repr=False)
    messages: "dist.ProcessGroup" = field(kw_only=True, repr=False)

    def sum(self, tensor: "Tensor") -> "Tensor":
        _wait(self.tensors.allreduce([tensor]), tensor)
        return tensor

    def sum_later(self, tensor: "Tensor") -> "Callable[[], Tensor]":
        work = self.tensors.allreduce([tensor])

        def wait() -> "Tensor":
            _wait(work, tensor)
            return tensor

        return wait

    def gather(self, tensor: "Tensor") -> "list[Tensor]":
        import torch

        lengths = self._gather(torch.tensor([len(tensor)], device=tensor.device), self.tensors)
        longest = max(int(length) for length in lengths)
        padded = tensor.new_zeros(longest, *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = self._gather(padded, self.tensors) if padded.numel() else [padded] * self.size
        return [part[: int(length)] for part, length in zip(parts, lengths, strict=True)]

    def gather_json(self, value: Any) -> list[Any]:
        import torch

        data = json.dumps(value).encode()
        (lengths,) = zip(*self._gather(torch.tensor([len(data)]), self.messages), strict=True)
        padded = torch.zeros(max(map(int, lengths)), dtype=torch.uint8)
        padded[: len(data)] = _tensor_of(data)
        parts = self._gather(padded, self.messages)
        return [json.loads(bytes(part[: int(n)].numpy())) for part, n in zip(parts, lengths, strict=True)]

    def from_leader(self, value: Any = None) -> Any:
        data = self.bytes_from_leader(json.dumps(value).encode() if self.is_leader else None)
        assert data is not None
        return json.loads(data)

    def bytes_from_leader(self, data: bytes | None = None) -> bytes | None:
        import torch

        count = torch.tensor([-1 if data is None else len(data)])
        self._broadcast(count)
        if int(count) < 0:
            return None
        sent = _tensor_of(data) if self.is_leader and data is not None else torch.zeros(int(count), dtype=torch.uint8)
        if int(count):
            self._broadcast(sent)
        return data if self.is_leader else bytes(sent.numpy())

    def copy_from_leader(self, tensor: "Tensor") -> None:
        _wait(self.tensors.broadcast(tensor, 0), tensor)

    def any(self, flag: bool) -> bool:
        return bool(self._most(int(flag)))

    def barrier(self) -> None:
        self._most(0)

    def raise_if_interrupted(self) -> None:
        if number := self._most(held_signal()):
            stop_by(number)

    def _most(self, number: int) -> int:
        """Return the largest of the numbers of all processes."""
        import torch
        from torch.distributed import ReduceOp

        found = torch.tensor([number])
        _wait(self.messages.allreduce([found], ReduceOp.MAX), found)
        return int(found)

    def heartbeat(self) -> Heartbeat:
        return _SharedHeartbeat(world=self)

    def _gather(self, tensor: "Tensor", group: "dist.ProcessGroup") -> "list[Tensor]":
        parts = [tensor.new_empty(tensor.shape) for _ in range(self.size)]
        _wait(group.allgather([parts], [tensor.contiguous()]), tensor)
        return parts

    def _broadcast(self, tensor: "Tensor") -> None:
        _wait(self.messages.broadcast(tensor, 0), tensor)


@dataclass
class _SharedHeartbeat(Heartbeat):
    """The same for several processes. A beat does not wait: what is sent in one of them is read in the next."""

    world: _Joined = field(kw_only=True)
    _sent: "tuple[Tensor, dist.Work] | None" = None

    def beat(self, stop: int = 0, *, save: bool = False) -> tuple[int, bool]:
        before = self._read()
        self._send(stop, save)
        return before

    def clock(self) -> float:
        if self._now is None:
            self._send(0, False)
            self._read()
        assert self._now is not None
        return self._now

    def _send(self, stop: int, save: bool) -> None:
        import torch
        from torch.distributed import ReduceOp

        now = time.perf_counter() if self.world.is_leader else float("-inf")
        numbers = torch.tensor([stop, save, now], dtype=torch.float64)
        self._sent = numbers, self.world.messages.allreduce([numbers], ReduceOp.MAX)

    def _read(self) -> tuple[int, bool]:
        if self._sent is None:
            return 0, False
        (numbers, work), self._sent = self._sent, None
        _wait(work, numbers)
        stop, save, self._now = numbers.tolist()
        return int(stop), bool(save)


def _wait(work: "dist.Work", tensor: "Tensor") -> None:
    """Wait until a tensor is sent or received, and hear signals meanwhile.

    A signal that is held back by `holding_interrupts` does not wait longer than `PATIENCE_SECONDS` for the others.
    """
    if tensor.is_cuda:  # then only later work on the GPU waits; a limit of time would end the group
        work.wait()
        return
    started = time.monotonic()
    while True:
        try:
            work.wait(timedelta(seconds=SIGNAL_SECONDS))
        except RuntimeError as error:
            if "timed out" not in str(error).lower() or work.is_completed():
                raise
        else:
            return
        if time.monotonic() - started > PATIENCE_SECONDS:
            raise_if_interrupted()


def _tensor_of(data: bytes) -> "torch.Tensor":
    import torch

    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)
