"""Devices, and the number type of matrix multiplications and convolutions.

Torch is imported where it is used, so that asking for help does not wait for it.
"""

import os
import shutil
from typing import TYPE_CHECKING

from firstlight.errors import RecipeError, require_type
from firstlight.runtime.distributed import world

if TYPE_CHECKING:
    import torch


def pick_device(name: str = "auto") -> "torch.device":
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:1` or `mps` names, if this machine has it.

    Of several processes that train together, each gets a GPU of its own.

    Raises:
        RecipeError: if the device is unknown, or not on this machine, or there are fewer GPUs than processes.
    """
    import torch

    require_type(name, str, "device", "auto, cpu, cuda, cuda:1 or mps")
    present = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if name == "auto":
        name = next(kind for kind in present if present[kind])
    if world().size > 1 and name.startswith("cuda"):
        return _own_gpu(name, present["cuda"])
    kind, _, number = name.partition(":")
    if kind not in present or not (number or "0").isdecimal():
        raise RecipeError("there is no such device; choose auto, cpu, cuda, cuda:1, or mps", field="device", value=name)
    if int(number or 0) >= present[kind]:
        raise RecipeError("PyTorch finds no such device on this machine; choose auto", field="device", value=name)
    return torch.device(kind, int(number)) if number else torch.device(kind)


def _own_gpu(name: str, present: int) -> "torch.device":
    """Return the GPU of this process among those that train together on this machine."""
    import torch

    here = world()
    if name != "cuda":
        raise RecipeError("every process has a GPU of its own; choose cuda", field="device", value=name)
    if here.local_size > present:
        raise RecipeError(
            f"torchrun has started {here.local_size} processes on a machine with {present} GPUs, and every process "
            f"needs one; start {present} at most, or choose cpu",
            field="device",
            value=name,
        )
    torch.cuda.set_device(here.local_rank)
    return torch.device("cuda", here.local_rank)


def pick_dtype(device: "torch.device", choice: str = "auto") -> "torch.dtype":
    """Return the number type of matrix products and convolutions: bfloat16 where it was measured to be faster.

    That is on GPUs that have it, on processors with matrix tiles (AMX), and on AMD's with AVX512-BF16. Intel's with
    AVX512-BF16 but without tiles were slower by half (LOG.md).

    Args:
        device: where it is computed.
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
    """Refuse `compile` where the machine has no C++ compiler for torch to use.

    Raises:
        RecipeError: names what to install.
    """
    names = [os.environ.get("CXX") or "c++", "g++", "clang++", "cl"]
    if not any(map(shutil.which, names)):
        raise RecipeError(
            "this needs a C++ compiler, and none was found; install g++, or leave it out",
            field="compile",
            value=True,
        )


def autocast(device: "torch.device", dtype: "torch.dtype") -> "torch.autocast":
    """Return a context in which matrix products and convolutions are computed in `dtype`, and the rest in float32."""
    import torch

    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
