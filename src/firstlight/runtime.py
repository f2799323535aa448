"""The machine and the dice: device, number type, threads, and seeds derived from what they are for.

Torch is imported where it is used: asking for help or checking a folder does not wait for it.
"""

import ctypes
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.errors import RecipeError

if TYPE_CHECKING:
    import torch


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
PLENTY = 4 << 30  # bytes
CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
OWN_MEMORY = Path("/proc/self/statm")  # Linux; in pages: all, in memory, of files, ...
RUNNING_NOW = Path("/proc/loadavg")  # Linux; its fourth word is RUNNING/ALL, of the whole machine
LOOKS = 5
SPINS = "100"  # looks at a flag before a waiting thread sleeps, some microseconds; measured in benchmarks/busy.py


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Give a 63-bit seed that depends on `seed` and on what it is for, and on nothing else.

    Two purposes give unrelated numbers; the same purpose gives the same number on every machine.
    """
    text = "\0".join(str(part) for part in (seed, *purpose))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *purpose: str | int) -> "torch.Generator":
    """Give a CPU generator seeded by `derive_seed`; no global generator is ever touched."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


def pick_device(name: str = "auto") -> "torch.device":
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps` into a device that is really there.

    Raises:
        RecipeError: if the device is unknown, or not on this machine.
    """
    import torch

    present = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if name == "auto":
        return torch.device(next(kind for kind in present if present[kind]))
    kind, _, number = name.partition(":")
    if kind not in present or not (number or "0").isdecimal():
        raise RecipeError(f"--device {name}: there is no such device; choose auto, cpu, cuda, cuda:1 or mps")
    if int(number or 0) >= present[kind]:
        raise RecipeError(f"--device {name}: this machine has none that torch can use; take --device auto")
    return torch.device(kind, int(number)) if number else torch.device(kind)


def share_processors() -> None:
    """Where others want the processors too, let threads that wait sleep instead of holding theirs.

    GNU OpenMP, which PyTorch's builds for Linux use, lets threads that wait for each other spin for milliseconds. On a
    quiet machine that saves waking them, up to half of an epoch; beside other work it makes two threads several
    times slower than one. OpenMP asks once, before torch is imported, so what counts is the load at that time. The
    threads and so the bits of every result stay the same. A user's own choice stays.
    """
    chosen = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    if not chosen and "torch" not in sys.modules and others_are_working():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def others_are_working() -> bool:
    """Tell whether more wants to run than there are processors beyond those we may use; False where nobody says.

    One look may catch somebody who is done at once, so all of a few have to agree. Who runs where is not asked: on a
    machine of which we may use a part, others may share that part unseen.
    """
    spare = max(0, (os.cpu_count() or 1) - default_workers())
    with suppress(OSError, ValueError, IndexError):
        for _ in range(LOOKS):
            running = int(RUNNING_NOW.read_text("ascii").split()[3].partition("/")[0])
            if running - 1 <= spare:  # one of them is this
                return False
            time.sleep(0.001)
        return True
    return False


@contextmanager
def one_thread() -> Iterator[None]:
    """Calculate in a single thread for a while: small products gain nothing from more, and lose when others wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def own_process() -> None:
    """Set what only a process of our own may: besides `share_processors`, memory that was freed stays with it.

    GNU's malloc otherwise gives large blocks back to the system, and every step of training gets the same ones anew,
    empty and page by page. Does nothing where there is no such malloc, or too little memory to keep any.
    """
    share_processors()
    if physical_memory() < PLENTY:
        return
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def default_workers() -> int:
    """How many threads decode pictures: one for each processor this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory() -> int:
    """Tell how many bytes of memory this process may use: the machine's, or a container's if that is less.

    8 GB where the system does not say.
    """
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        installed = 8 << 30
    return min([installed, *_container_limits()])


def memory_left() -> int:
    """Tell how many bytes this process may still take: `physical_memory` without what it has taken for itself."""
    taken = 0
    with suppress(OSError, ValueError):
        resident, of_files = OWN_MEMORY.read_text("ascii").split()[1:3]
        taken = (int(resident) - int(of_files)) * os.sysconf("SC_PAGE_SIZE")
    return max(0, physical_memory() - taken)


def _container_limits() -> Iterator[int]:
    """Give the limits of this process's control groups and of those around them (Linux; both versions)."""
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


def pick_dtype(device: "torch.device", choice: str = "auto") -> "torch.dtype":
    """Choose the number type of the heavy arithmetic: bfloat16 where machines of this kind were seen to gain from it.

    Those are GPUs that have it, processors with matrix tiles (AMX), and AMD's with AVX512-BF16. Intel's with
    AVX512-BF16 but no tiles were slower by half (LOG.md).

    Args:
        device: where the arithmetic is done.
        choice: `auto`, `float32` or `bfloat16`.
    """
    import torch

    if choice != "auto":
        return torch.float32 if choice == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    amd = "AMD" in str(capabilities.get("cpu_name"))
    gains = capabilities.get("amx_bf16") or (capabilities.get("avx512_bf16") and amd)
    return torch.bfloat16 if device.type == "cpu" and gains else torch.float32


def require_compiler() -> None:
    """Refuse `--compile` where the machine has no C++ compiler for torch to use.

    Raises:
        RecipeError: names what to install.
    """
    names = [os.environ.get("CXX") or "c++", "g++", "clang++", "cl"]
    if not any(map(shutil.which, names)):
        raise RecipeError(
            "--compile needs a C++ compiler, and none is on the path; install g++, or leave --compile out"
        )


def autocast(device: "torch.device", dtype: "torch.dtype") -> "torch.autocast":
    """Do the heavy arithmetic of a block in `dtype`, and leave the delicate part in float32."""
    import torch

    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
