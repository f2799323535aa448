"""Memory: how much this process may use, and what happens to memory that it frees."""

import ctypes
import mmap
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # glibc's malloc.h
KEPT_BLOCK, KEPT_BYTES = 32 << 20, 64 << 20  # by `keep_small_memory`: the largest block, and all at most
MIN_BYTES_TO_KEEP_FREED_MEMORY = 4 << 30
CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
OWN_MEMORY = Path("/proc/self/statm")  # Linux; in pages: all, in memory, of files, ...
# How libraries say in an error of another type that memory has run out, of this process or of a GPU.
_NO_MEMORY = re.compile(
    r"can(not|'t) allocate memory|not enough memory|DefaultCPUAllocator|failed to map segment|std::bad_alloc"
    r"|Unable to allocate",
    re.IGNORECASE,
)
_NO_THREAD = "can't start new thread"
_NO_GPU_MEMORY = "MPS backend out of memory"


def physical_memory() -> int:
    """Return how many bytes of memory this process may use: the machine's, or less if a container or `ulimit` says so.

    8 GB where the system does not say.
    """
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        installed = 8 << 30
    return min([installed, *_container_limits(), *_own_limits()])


def memory_left() -> int:
    """Return how many bytes this process may still use: `physical_memory` less what it uses now, files aside.

    Limits of `ulimit` count what is reserved as well, such as the stacks of threads.
    """
    address_space = taken = data = 0
    with suppress(OSError, ValueError):
        address_space, resident, of_files, _, _, data = map(int, OWN_MEMORY.read_text("ascii").split()[:6])
        taken = resident - of_files
    left = [physical_memory(), *_own_limits()]
    used = [taken, address_space, data][: len(left)]
    return max(0, min(limit - pages * mmap.PAGESIZE for limit, pages in zip(left, used, strict=True)))


def _own_limits() -> list[int]:
    """Return the limits of this process on its address space and its data, in bytes; huge if there are none.

    Empty where the system has no such limits.
    """
    if sys.platform == "win32":
        return []
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return [sys.maxsize if limit == resource.RLIM_INFINITY else limit for limit in limits]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of this process has run out."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | ImportError | OSError) and _NO_MEMORY.search(str(error)) is not None


def is_out_of_threads(error: BaseException) -> bool:
    """Return whether an error says that the system lets this process start no other thread."""
    return isinstance(error, RuntimeError) and _NO_THREAD in str(error)


def is_out_of_gpu_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of a GPU has run out."""
    if type(error).__name__ == "OutOfMemoryError":  # of torch, which may not be imported
        return True
    return isinstance(error, RuntimeError) and _NO_GPU_MEMORY in str(error)


def free_device_memory(device: "torch.device") -> None:
    """Release the memory of a GPU that PyTorch keeps for later."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _container_limits() -> Iterator[int]:
    """Yield the limits of this process's control groups and of those around them, in bytes (Linux; both versions)."""
    with suppress(OSError, ValueError):
        for line in OWN_CGROUPS.read_text("utf-8").splitlines():
            _, controllers, inside = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            root, file = CGROUPS / controllers, "memory.limit_in_bytes" if controllers else "memory.max"
            for group in (root / inside.lstrip("/"), *(root / inside.lstrip("/")).parents):
                with suppress(OSError, ValueError):
                    yield int((group / file).read_text("ascii"))
                if group == root:
                    break


def keep_small_memory() -> None:
    """Make malloc keep some memory that is freed, but no large block of it; for processes that decode images.

    Memory that the system gives anew costs a decoder more than the hand-over to its process does (LOG.md).
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def keep_freed_memory() -> None:
    """Make malloc keep freed memory in this process; only the command line and the benchmarks call this.

    By default GNU's malloc returns large blocks to the system, and every training step has to get them again, page by
    page. Does nothing where there is another malloc, or where there is too little memory to keep any.
    """
    if physical_memory() < MIN_BYTES_TO_KEEP_FREED_MEMORY:
        return
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
