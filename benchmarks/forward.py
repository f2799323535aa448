"""Forward passes of mobilenet_v2 with real weights: firstlight's way, eager PyTorch, ONNX Runtime, OpenVINO.

    python benchmarks/forward.py --engine firstlight --data-root ../shared/data

Prints one JSON line for batches of 32 and one for single pictures: pictures a CPU-second and a second, and the share
of top-1 answers that are those of eager PyTorch in float32. One thread, so that every engine has the same.
"""

import argparse
import io
import json
import os
import tarfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
SIDE, ROUNDS = 224, 3

Forward = Callable[[Any], np.ndarray]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--smoke", action="store_true", help="few, made-up pictures, and random weights")
    choices = parser.parse_args()
    engine = ENGINES[choices.engine]
    if engine.set_up_process:
        from firstlight.runtime.processors import set_up_process

        set_up_process()  # as the command line does, before torch is imported
    root = None if choices.smoke else Path(choices.data_root)
    images = photographs(root, 8 if choices.smoke else 128)
    network = mobilenet(root)
    forward = engine.make(network)
    truth = eager(network)(images).argmax(axis=1)
    for batch in (32, 1):
        some = images[: batch * max(1, (64 if batch == 32 else 24) // batch)]
        chunks = [some[first : first + batch] for first in range(0, len(some), batch)]
        whole = np.concatenate([forward(images[first : first + batch]) for first in range(0, len(images), batch)])
        cpu, wall = [], []
        for _ in range(1 if choices.smoke else ROUNDS):
            started, cpu_started = time.perf_counter(), time.process_time()
            for chunk in chunks:
                forward(chunk)
            cpu.append(len(some) / (time.process_time() - cpu_started))
            wall.append(len(some) / (time.perf_counter() - started))
        row = {
            "side": f"{choices.engine} at batch {batch}",
            "images_per_cpu_second": median(cpu),
            "images_per_second": median(wall),
            "agreement": float((whole.argmax(axis=1) == truth).mean()),
            "n": len(images),
            "versions": {name: version(name) for name in engine.packages},
        }
        print(json.dumps(row), flush=True)


def photographs(root: Path | None, count: int) -> np.ndarray:
    """Give photographs of clothing as uint8 [N, 224, 224, 3]; noise where there is no folder of data."""
    if root is None:
        return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    from PIL import Image, ImageOps

    with tarfile.open(root / "clothing10.tar") as files:
        members = [member for member in files if member.isfile() and member.name.startswith("test/")]
        chosen = members[:: max(1, len(members) // count)][:count]
        images = [Image.open(io.BytesIO(files.extractfile(member).read())).convert("RGB") for member in chosen]
    return np.stack([np.asarray(ImageOps.fit(image, (SIDE, SIDE))) for image in images])


def mobilenet(root: Path | None) -> Any:
    """Give torchvision's mobilenet_v2 with the weights of `<root>/weights`."""
    import torch
    from safetensors.torch import load_file
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    network = mobilenet_v2(weights=None).eval()
    if root is not None:
        network.load_state_dict(load_file(root / "weights" / "mobilenet_v2-imagenet.safetensors"))
    return network


def normalized(images: np.ndarray) -> np.ndarray:
    """Give float32 [B, 3, H, W], as a user of the bare network has to."""
    return ((np.float32(images) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


def eager(network: Any) -> Forward:
    """PyTorch as it comes."""
    import torch

    def forward(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(np.ascontiguousarray(normalized(images)))).numpy()

    return forward


def firstlight(network: Any) -> Forward:
    """A Classifier made ready, as `firstlight predict` does."""
    import torch

    from firstlight.models.classifier import Classifier
    from firstlight.models.inference import ready

    classifier = Classifier(
        architecture={"name": "torchvision:mobilenet_v2"},
        classes=tuple(map(str, range(1000))),
        input_size=(3, SIDE, SIDE),
        mean=tuple(MEAN.tolist()),
        std=tuple(STD.tolist()),
    )
    classifier.network.load_state_dict(network.state_dict())

    def forward(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return ready(classifier)(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    return forward


def onnx_bytes(network: Any) -> bytes:
    """Export for the other engines."""
    import torch

    file = io.BytesIO()
    sizes = {"pictures": {0: "batch"}}
    torch.onnx.export(
        network, (torch.zeros(2, 3, SIDE, SIDE),), file, input_names=["pictures"], dynamic_axes=sizes, dynamo=False
    )
    return file.getvalue()


def onnxruntime(network: Any) -> Forward:
    """ONNX Runtime, its own optimizations on."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(onnx_bytes(network), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"pictures": normalized(images)})[0]


def openvino(network: Any) -> Forward:
    """OpenVINO, which takes bfloat16 by itself where it gains."""
    import openvino as vino

    core = vino.Core()
    compiled = core.compile_model(
        core.read_model(onnx_bytes(network)), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    )
    return lambda images: compiled(normalized(images))[0]


class Engine(NamedTuple):
    """How forward passes are made, the packages that make them, and whether the process keeps memory it has freed."""

    make: Callable[[Any], Forward]
    packages: tuple[str, ...]
    set_up_process: bool = False


ENGINES = {
    "firstlight": Engine(firstlight, ("firstlight", "torch"), set_up_process=True),
    "eager": Engine(eager, ("torch", "torchvision")),
    "eager, memory kept": Engine(eager, ("torch", "torchvision"), set_up_process=True),
    "onnxruntime": Engine(onnxruntime, ("onnxruntime",)),
    "openvino": Engine(openvino, ("openvino",)),
}


if __name__ == "__main__":
    main()
