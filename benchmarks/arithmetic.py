"""How long would 10 million images take on 8 H200? On paper: nothing here was run on such a machine.

    python benchmarks/arithmetic.py           # a JSON line for each figure
    python benchmarks/arithmetic.py --write   # the tables of the page "When one machine is not enough"

What a core decodes and copies was measured, and is read from `results/packing.jsonl`; what the hardware can do is what
its maker says. FLOPs are those of PyTorch's `FlopCounterMode` for one image, with a multiplication and an addition
counted as two.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "guide" / "how-to" / "when_one_machine_is_not_enough.md"
BEGIN, END = "<!-- begin: python benchmarks/arithmetic.py --write -->", "<!-- end -->"

IMAGES, SIDE, CHANNELS = 10_000_000, 224, 3
IMAGE_BYTES = SIDE * SIDE * CHANNELS  # uint8, as packed
FILE_BYTES = 110_000  # of a JPEG, as in ImageNet
FLOAT_BYTES = 4  # weights, gradients, and optimizer state are float32
BATCH = 256  # images for each GPU
CLASSES = 1_000
MESSAGE_SECONDS = 30e-6  # until a small sum has gone around eight GPUs; an assumption
GPUS = 8  # of one machine
CHECKPOINT_MINUTES = 5

# The makers' figures for H200 SXM, and for a machine with eight of them (DGX H200). One direction each.
PEAK_FLOPS = 989e12  # bfloat16 without sparsity
NVLINK_BYTES = 450e9
PCIE_BYTES = 63e9  # PCIe 5.0, 16 lanes
CORES, MEMORY_BYTES = 112, 2e12
DISK_BYTES, DISK_RATE = 8 * 3.84e12, 8 * 6.5e9
NETWORKS_BETWEEN = {"8 x 400 Gbit/s InfiniBand": 8 * 400e9 / 8, "100 Gbit/s": 100e9 / 8, "10 Gbit/s": 10e9 / 8}

# Measured on one core of the machine of this repository (LOG.md: blocks compared with their XXH3 digests).
COMPARED_BYTES = 2.3e9


@dataclass(frozen=True)
class Network:
    """A network: the FLOPs of its forward and backward pass for an image, its weights, and the assumed efficiency.

    `efficiency` is the fraction of the peak that training reaches. It is an assumption.
    """

    name: str
    training_flops: float
    weights: int
    efficiency: float
    batch_norms: int

    def images_per_second(self) -> float:
        """Return what one GPU trains."""
        return PEAK_FLOPS * self.efficiency / self.training_flops

    def gradient_bytes(self) -> int:
        """Return the bytes that are summed over the GPUs after each step."""
        return self.weights * FLOAT_BYTES


RESNET = Network("ResNet-50", 24.299e9, 25_557_032, efficiency=0.20, batch_norms=53)
VIT = Network("ViT-B/16", 105.152e9, 86_567_656, efficiency=0.40, batch_norms=0)
NETWORKS = (RESNET, VIT)


@dataclass(frozen=True)
class Core:
    """What one core of this machine did in `benchmarks/packing.py`, in images per second."""

    packed: float
    decoded: float
    copied: float

    @classmethod
    def measured(cls, results: Path = HERE / "results" / "packing.jsonl") -> "Core":
        """Read the last measurement."""
        rows = map(json.loads, results.read_text("utf-8").splitlines())
        rates = {row["side"]: row["images_per_cpu_second"] for row in rows if "side" in row}
        return cls(rates["firstlight pack"], rates["firstlight, same work"], rates["firstlight epoch"])


def ring_bytes(gradient_bytes: float, gpus: int) -> float:
    """Return the bytes that each GPU sends, and receives, in a ring all-reduce: 2 (n - 1) / n times the gradient."""
    return 2 * (gpus - 1) / gpus * gradient_bytes


@dataclass(frozen=True)
class Figure:
    """A row of a table: what it is, how it is computed, its values, and their unit."""

    what: str
    formula: str
    values: tuple[float, ...]
    unit: str

    def cells(self) -> list[str]:
        """Return the values with three significant figures and their unit."""
        digits = [f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}" for value in self.values]
        return [f"{each} {self.unit}".strip() for each in digits]


def data_figures(core: Core) -> list[Figure]:
    """Return what the images take before any training."""
    store = IMAGES * IMAGE_BYTES
    packing = IMAGES / core.packed
    return [
        Figure("files", f"{IMAGES:,} x {FILE_BYTES / 1e3:.0f} kB (JPEG)", (IMAGES * FILE_BYTES / 1e12,), "TB"),
        Figure("fetched over 10 Gbit/s", "files / 1.25 GB/s", (IMAGES * FILE_BYTES / 1.25e9 / 60,), "min"),
        Figure("packed", f"{IMAGES:,} x {IMAGE_BYTES:,} B ({SIDE} x {SIDE} x {CHANNELS})", (store / 1e12,), "TB"),
        Figure("its share of the memory", f"packed / {MEMORY_BYTES / 1e12:.0f} TB", (100 * store / MEMORY_BYTES,), "%"),
        Figure("its share of the disks", f"packed / {DISK_BYTES / 1e12:.1f} TB", (100 * store / DISK_BYTES,), "%"),
        Figure("packing", f"{core.packed:.0f} images per second and core *", (packing / 3600,), "core-hours"),
        Figure(f"packing on {CORES} cores", f"packing / {CORES}", (packing / CORES / 60,), "min"),
    ]


def training_figures() -> list[Figure]:
    """Return what training takes on one machine, for each network."""
    rates = [network.images_per_second() for network in NETWORKS]
    gradients = [network.gradient_bytes() for network in NETWORKS]
    rings = [ring_bytes(gradient, GPUS) for gradient in gradients]
    states = [4 * gradient for gradient in gradients]
    answers = ring_bytes(GPUS * BATCH * CLASSES * FLOAT_BYTES, GPUS)
    messages = [2 * network.batch_norms * MESSAGE_SECONDS for network in NETWORKS]
    pause = f"every {CHECKPOINT_MINUTES} minutes, at 1 GB/s"

    def row(what: str, formula: str, values: Iterable[float], unit: str) -> Figure:
        return Figure(what, formula, tuple(values), unit)

    return [
        row("work for an image", "forward and backward", (each.training_flops / 1e9 for each in NETWORKS), "GFLOP"),
        row("efficiency", "assumed", (100 * each.efficiency for each in NETWORKS), "%"),
        row("images/s of a GPU", f"{PEAK_FLOPS / 1e12:.0f} TFLOP/s x efficiency / work", rates, ""),
        row(f"images/s of {GPUS} GPUs", f"{GPUS} x that", (GPUS * rate for rate in rates), ""),
        row("an epoch", f"{IMAGES:,} / that", (IMAGES / rate / GPUS / 60 for rate in rates), "min"),
        row("a step", f"{BATCH} images for each GPU", (1e3 * BATCH / rate for rate in rates), "ms"),
        row("gradient", f"weights x {FLOAT_BYTES} B", (gradient / 1e6 for gradient in gradients), "MB"),
        row(
            "sent by each GPU in a step", f"2 (n - 1) / n x gradient, n = {GPUS}", (ring / 1e6 for ring in rings), "MB"
        ),
        row(
            "over NVLink", f"sent / {NVLINK_BYTES / 1e9:.0f} GB/s", (1e3 * ring / NVLINK_BYTES for ring in rings), "ms"
        ),
        row(
            "answers, sent likewise", f"{GPUS * BATCH} x {CLASSES} classes x {FLOAT_BYTES} B", [answers / 1e6] * 2, "MB"
        ),
        row("batch norms of whole batches", "norms x 2 x 30 us, assumed", (1e3 * each for each in messages), "ms"),
        row("saved state", "weights, average, AdamW: 4 x gradient", (state / 1e6 for state in states), "MB"),
        row("time for saving", pause, (100 * state / 1e9 / (CHECKPOINT_MINUTES * 60) for state in states), "%"),
    ]


def loader_figures(core: Core) -> list[Figure]:
    """Return how many images per second reach the GPUs of one machine, by what limits them."""
    comparing = 1 / (1 / core.copied + IMAGE_BYTES / COMPARED_BYTES)
    return [
        Figure("files decoded in every epoch", f"{CORES} cores x {core.decoded:.0f} *", (CORES * core.decoded,), ""),
        Figure("packed, read the first time", f"{GPUS} cores x {comparing:,.0f} *", (GPUS * comparing,), ""),
        Figure("packed, after that", f"{GPUS} cores x {core.copied:,.0f} *", (GPUS * core.copied,), ""),
        Figure(
            "packed, from the disks", f"{DISK_RATE / 1e9:.0f} GB/s / {IMAGE_BYTES:,} B", (DISK_RATE / IMAGE_BYTES,), ""
        ),
        Figure("packed, from one disk of 1 GB/s", f"1 GB/s / {IMAGE_BYTES:,} B", (1e9 / IMAGE_BYTES,), ""),
        Figure("PCIe", f"{GPUS} x 63 GB/s / {IMAGE_BYTES:,} B", (GPUS * PCIE_BYTES / IMAGE_BYTES,), ""),
    ]


def second_machine_figures() -> list[Figure]:
    """Return what a second machine adds to a step, if nothing overlaps."""
    rings = [ring_bytes(network.gradient_bytes(), 2 * GPUS) for network in NETWORKS]
    steps = [BATCH / network.images_per_second() for network in NETWORKS]
    sent = Figure(
        "sent by each machine in a step", "2 (n - 1) / n x gradient, n = 16", tuple(r / 1e6 for r in rings), "MB"
    )
    return [sent] + [
        Figure(
            f"{name}, share of a step",
            f"sent / {rate / 1e9:.4g} GB/s / a step",
            tuple(100 * ring / rate / step for ring, step in zip(rings, steps, strict=True)),
            "%",
        )
        for name, rate in NETWORKS_BETWEEN.items()
    ]


def tables(core: Core) -> dict[str, list[Figure]]:
    """Return all figures, by the heading of their table."""
    return {
        "The pictures": data_figures(core),
        "One machine": training_figures(),
        "Pictures per second that reach its GPUs": loader_figures(core),
        "A second machine": second_machine_figures(),
    }


def as_text(found: dict[str, list[Figure]]) -> str:
    """Return the tables in Markdown."""
    lines = []
    for heading, figures in found.items():
        columns = [network.name for network in NETWORKS] if len(figures[0].values) > 1 else [""]
        lines += [f"| {heading} | how | {' | '.join(columns)} |", "|---|---|" + "--:|" * len(columns)]
        lines += [f"| {figure.what} | {figure.formula} | {' | '.join(figure.cells())} |" for figure in figures]
        lines.append("")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """Return the page with its tables computed anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{as_text(tables(Core.measured()))}\n{END}{after}"


def main() -> None:
    """Print the figures, or write them into the page."""
    parser = argparse.ArgumentParser(description="What 10 million images would take on 8 H200, on paper.")
    parser.add_argument("--write", action="store_true", help="write the tables into the page of the guide")
    parser.add_argument("--smoke", action="store_true", help="the same: it takes no time")
    if parser.parse_args().write:
        PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
        return
    for heading, figures in tables(Core.measured()).items():
        for figure in figures:
            names = [f" ({network.name})" for network in NETWORKS] if figure.values[1:] else [""]
            for name, value in zip(names, figure.values, strict=True):
                side = ", ".join(filter(None, (f"{heading}: {figure.what}{name}", figure.unit)))
                print(json.dumps({"side": side, "value": value, "formula": figure.formula}))


if __name__ == "__main__":
    main()
