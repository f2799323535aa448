"""What this machine is, and the most it can do: measured limits to compare the rows with.

    python benchmarks/machine.py

Prints one JSON line: processor, cores, memory, device, versions, and the best rates of the mlp's matrix products and of
copying memory.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from firstlight.runtime.memory import physical_memory
from firstlight.runtime.processors import set_up_process

MLP_WIDTHS = (784, 512, 256, 128, 10)
BATCH = 512
REPEATS = 100


def main() -> None:
    """Measure and print the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="measure once, with a small copy")
    smoke = parser.parse_args().smoke
    repeats = 1 if smoke else REPEATS
    set_up_process()
    import torch

    dtypes = (torch.float32, torch.bfloat16)
    rates = {str(dtype).removeprefix("torch."): product_rate(dtype, repeats) for dtype in dtypes}
    block = torch.zeros(1_000_000 if smoke else 64_000_000)
    into = torch.empty_like(block)
    moved = 2 * block.numel() * block.element_size()
    facts = {
        "part": "machine",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(physical_memory() / 2**30, 1),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "gflops": {name: round(rate / 1e9) for name, rate in rates.items()},
        "copy_gb_per_second": round(moved / seconds_of(lambda: into.copy_(block), repeats) / 1e9, 1),
        "mlp_flops_per_image": mlp_flops(),
    }
    print(json.dumps(facts))


def processor() -> str:
    """Return the processor's name, and which of the relevant instruction sets it has."""
    import torch

    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    extras = [
        word for word in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(word)
    ]
    return f"{name} ({', '.join(extras)})"


def mlp_flops() -> int:
    """Count the operations of one training step for one image: forward, gradients of weights, gradients of inputs.

    The images themselves need no gradient, so the first layer's product is done twice and the others' three times.
    """
    products = [2 * wide_in * wide_out for wide_in, wide_out in zip(MLP_WIDTHS, MLP_WIDTHS[1:], strict=False)]
    return 3 * sum(products) - products[0]


def product_rate(dtype: "torch.dtype", repeats: int) -> float:  # noqa: F821 - torch is imported after threads are set
    """Measure operations per second over the mlp's own matrix products, one after another."""
    import torch

    layers = [
        (torch.randn(BATCH, wide_in).to(dtype), torch.randn(wide_out, wide_in).to(dtype))
        for wide_in, wide_out in zip(MLP_WIDTHS[:-1], MLP_WIDTHS[1:-1], strict=False)
    ]

    def products() -> None:
        for images, weights in layers:
            torch.nn.functional.linear(images, weights)

    operations = sum(2 * images.numel() * len(weights) for images, weights in layers)
    return operations / seconds_of(products, repeats)


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Return the fewest seconds that the work took: a limit is the most a machine can do, not what it usually does."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
