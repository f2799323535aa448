"""How several processes send each other tensors and messages, through two groups of `torch.distributed`.

Nothing is pickled: tensors, bytes and JSON are sent. Tensors on a GPU are sent by NCCL, those on the CPU by gloo;
messages always by gloo.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from firstlight.runtime.distributed import Heartbeat, World
from firstlight.runtime.interrupts import held_signal, raise_if_interrupted, stop_by

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist
    from torch import Tensor
    from torch.distributed import Store

STEP_MINUTES = 30  # that a process may wait for the tensors of the others
MESSAGE_DAYS = 30  # for a message, since others may do long work of their own; torchrun ends who waits for the dead
SIGNAL_SECONDS = 1.0  # between looks for signals while this process waits
PATIENCE_SECONDS = 10.0  # with the others, once a signal has come; they may hang


@contextmanager
def process_groups(found: World, store: "Store") -> "Iterator[tuple[dist.ProcessGroup, dist.ProcessGroup]]":
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


def several(found: World, tensors: "dist.ProcessGroup", messages: "dist.ProcessGroup") -> World:
    """Return a world of several processes.

    Args:
        found: which one this is.
        tensors: the group that sends tensors.
        messages: the group that sends everything else.
    """
    return _Joined(**vars(found), tensors=tensors, messages=messages)


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
