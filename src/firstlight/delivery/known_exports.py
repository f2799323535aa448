"""What this machine knows about an exported file, in the cache: whether it answers as its model does, and how fast.

An export is known by what it holds, not by its name: a file that was replaced or damaged is not known any more. Speeds
are those of this machine, its number of threads, and the versions of what computes.
"""

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from firstlight.cache import cache_folder, writable_in_cache
from firstlight.errors import ModelFileError
from firstlight.files import read_regular
from firstlight.models.classifier import Classifier
from firstlight.runtime.processors import default_workers
from firstlight.verified import mark_as_used, read_line, remove_unused, write_line

if TYPE_CHECKING:
    from torch import Tensor

    from firstlight.inference.engines.answers import Engine

FOLDER = "exports"  # in the cache
LARGEST_SHARE = 2  # of the size of the model file, that its export may have
ROOM = 2**26  # bytes, for all else
TIMED_IMAGES = 4  # about what a network takes at a time
ROUNDS = 3
ENOUGH_SECONDS = 1.0  # of timing one engine

Milliseconds = dict[str, float]  # for one image, by the name of the engine


@dataclass(frozen=True)
class Known:
    """What is known about an export of a model.

    Attributes:
        refusal: why it is not used; None if it answers as the model does.
        speeds: milliseconds for one image by engine, by machine, see `this_machine`.
    """

    refusal: str | None = None
    speeds: dict[str, Milliseconds] = field(default_factory=dict)

    def is_faster(self, threads: int) -> bool | None:
        """Return whether the export is faster than PyTorch here; None if that was not measured yet."""
        found = self.speeds.get(this_machine(threads))
        return None if found is None else found["onnx"] < found["torch"]

    def measured(self, torch_engine: "Engine", engine: "Engine", images: "Tensor", threads: int) -> "Known":
        """Return the same with the speeds of both engines on this machine."""
        return replace(self, speeds={**self.speeds, this_machine(threads): speeds_of(torch_engine, engine, images)})


def read_export(file: Path, model_file: Path) -> bytes:
    """Return the bytes of a file that may be an export of a model.

    Raises:
        ModelFileError: if it is too large for that, or cannot be read.
    """
    try:
        if file.stat().st_size > LARGEST_SHARE * model_file.stat().st_size + ROOM:
            raise ModelFileError("it is much larger than an export of this model would be")
        return read_regular(file)
    except OSError as error:
        raise ModelFileError(f"it cannot be read ({error.strerror})") from None


def recall(digest: str, content: bytes) -> Known | None:
    """Return what is known about an export of the model with this digest; None if nothing is."""
    file = cache_folder() / _name(digest, content)
    line = read_line(file)
    if line is None:
        return None
    mark_as_used(file)
    found = json.loads(line)
    return Known(found["refusal"], {machine: _milliseconds(one) for machine, one in found["speeds"].items()})


def remember(digest: str, content: bytes, known: Known) -> None:
    """Keep what is known about an export; a cache that cannot be written keeps nothing."""
    file = writable_in_cache(_name(digest, content))
    remove_unused(file.parent)
    with suppress(OSError):
        write_line(file, json.dumps({"refusal": known.refusal, "speeds": known.speeds}))


def export_file(digest: str) -> Path:
    """Return where the cache keeps the export of a model that this version makes."""
    words = "\n".join([digest, *(version(name) for name in ("firstlight", "torch", "onnxscript", "onnxruntime"))])
    return cache_folder() / FOLDER / f"{hashlib.sha256(words.encode()).hexdigest()[:32]}.onnx"


def this_machine(threads: int) -> str:
    """Return what speeds depend on: the processor, how much of it we may use, and the versions of what computes."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    name = capabilities.get("cpu_name") or torch.backends.cpu.get_cpu_capability()
    versions = f"torch {torch.__version__}, onnxruntime {version('onnxruntime')}"
    return f"{name}, {threads} of {default_workers()} processors, {versions}"


def speeds_of(torch_engine: "Engine", engine: "Engine", images: "Tensor") -> Milliseconds:
    """Return the milliseconds that two engines take for one image: the best of a few rounds, in turn."""
    engines = {"torch": torch_engine, "onnx": engine}
    best: Milliseconds = {}
    for one in engines.values():
        one(images[:1])  # the first call also prepares
    started = time.perf_counter()
    for _ in range(ROUNDS):
        for name, one in engines.items():
            best[name] = min(best.get(name, float("inf")), _milliseconds_for(one, images))
        if time.perf_counter() - started > 2 * ENOUGH_SECONDS:
            break
    return best


def milliseconds_of(engine: "Engine", images: "Tensor") -> float:
    """Return roughly how many milliseconds an engine takes for one image."""
    engine(images[:1])
    return _milliseconds_for(engine, images)


def noise_for(model: Classifier) -> "Tensor":
    """Return images on which speed is measured, uint8 `[N, C, H, W]`."""
    channels, height, width = model.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (TIMED_IMAGES, height, width, channels), np.uint8)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _milliseconds_for(engine: "Engine", images: "Tensor") -> float:
    started = time.perf_counter()
    engine(images)
    return (time.perf_counter() - started) * 1000 / len(images)


def _milliseconds(found: Any) -> Milliseconds:
    return {name: float(found[name]) for name in ("torch", "onnx")}


def _name(digest: str, content: bytes) -> str:
    of_both = hashlib.sha256(digest.encode() + hashlib.sha256(content).digest())
    return f"{FOLDER}/{of_both.hexdigest()[:32]}.known"
