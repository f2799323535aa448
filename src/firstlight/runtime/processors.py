"""Processors and threads: how many this process may use, and how they share the machine with other programs."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from firstlight.runtime.memory import keep_freed_memory

LOAD_FILE = Path("/proc/loadavg")  # Linux; its fourth word is RUNNING/ALL, of the whole machine
LOAD_SAMPLES = 5
SPIN_COUNT = "100"  # checks of a flag before a waiting thread sleeps, some microseconds; measured in benchmarks/busy.py


@dataclass
class _Share:
    """How many processors this process was told to use; None if nobody has told it."""

    processors: int | None = None


_share = _Share()


def use_processors(count: int) -> None:
    """Let this process use so many processors: others like it use the rest."""
    _share.processors = count


def default_workers() -> int:
    """Return how many threads decode images: one for each processor that this process may use."""
    if _share.processors is not None:
        return _share.processors
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def yield_processors() -> None:
    """Make waiting threads sleep instead of spin if other programs use the processors too.

    GNU OpenMP, which PyTorch's builds for Linux use, lets threads that wait for each other spin for milliseconds. On a
    quiet machine that saves waking them, up to half of an epoch; beside other work it makes two threads several
    times slower than one. OpenMP reads the setting once, when torch is imported, so what counts is the load at that
    time. The number of threads, and so the bits of every result, stay the same. A setting made by the user is kept.
    """
    if others_are_working():
        sleep_while_waiting()


def sleep_while_waiting() -> None:
    """Make waiting threads sleep instead of spin, as a server wants it: its decoders use the processors meanwhile."""
    chosen = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    if not chosen and "torch" not in sys.modules:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def others_are_working() -> bool:
    """Return whether other programs compete for our processors; False if the system does not say.

    A single sample may catch a process that ends at once, so all of a few samples have to agree. On which processor
    something runs is not known: on a machine of which we may use a part, others may use that part too.
    """
    spare = max(0, (os.cpu_count() or 1) - default_workers())
    with suppress(OSError, ValueError, IndexError):
        for _ in range(LOAD_SAMPLES):
            running = int(LOAD_FILE.read_text("ascii").split()[3].partition("/")[0])
            if running - 1 <= spare:  # one of them is this
                return False
            time.sleep(0.001)
        return True
    return False


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in a single thread within the block: small products gain nothing from more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_up_process() -> None:
    """Set what only firstlight's own process may decide: threads that yield to other work, and memory that is kept.

    The command line and the benchmarks call it before torch is imported.
    """
    yield_processors()
    keep_freed_memory()
