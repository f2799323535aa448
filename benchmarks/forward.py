"""Forward passes of mobilenet_v2 with real weights, in firstlight, eager PyTorch, ONNX Runtime, and OpenVINO.

    python benchmarks/forward.py --engine firstlight --data-root ../shared/data

Prints one JSON line for batches of 32 and one for single pictures: pictures per CPU-second and per second, and the
proportion of top-1 answers that agree with eager PyTorch in float32. All engines use one thread, for a fair comparison.
"""

import argparse
import io
import json
import os
import tarfile
import time
from collections.abc import Callable
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
SIDE, ROUNDS = 224, 3
FEW_BLOCKS = [[1, 16, 1, 2], [6, 24, 1, 2]]  # factor, channels, repeats, stride; a smoke run needs no more

Forward = Callable[[Any], np.ndarray]


def main() -> None:
    """Measure and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--smoke", action="store_true", help="a few made-up pictures, and random weights")
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
    if engine.normalized_beforehand:
        images = np.ascontiguousarray(normalized(images))
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
    """Return photographs of clothing as uint8 [N, 224, 224, 3], or noise if there is no data folder."""
    if root is None:
        return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    from PIL import Image, ImageOps

    with tarfile.open(root / "clothing10.tar") as files:
        members = [member for member in files if member.isfile() and member.name.startswith("test/")]
        chosen = members[:: max(1, len(members) // count)][:count]
        images = [Image.open(io.BytesIO(files.extractfile(member).read())).convert("RGB") for member in chosen]
    return np.stack([np.asarray(ImageOps.fit(image, (SIDE, SIDE))) for image in images])


def mobilenet(root: Path | None) -> Any:
    """Return torchvision's mobilenet_v2 with the weights of `<root>/weights`; without a folder, a small one."""
    import torch
    from safetensors.torch import load_file
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    blocks = FEW_BLOCKS if root is None else None
    network = mobilenet_v2(weights=None, inverted_residual_setting=blocks).eval()
    if root is not None:
        network.load_state_dict(load_file(root / "weights" / "mobilenet_v2-imagenet.safetensors"))
    return network


def normalized(images: np.ndarray) -> np.ndarray:
    """Return float32 [B, 3, H, W], as users of the bare network have to compute it."""
    return ((np.float32(images) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


def eager(network: Any) -> Forward:
    """Return the forward pass of plain PyTorch."""
    import torch

    def forward(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(np.ascontiguousarray(normalized(images)))).numpy()

    return forward


def classifier_with(network: Any) -> Any:
    """Return the network as a Classifier."""
    from firstlight.models.classifier import Classifier

    classifier = Classifier(
        architecture={"name": "torchvision:mobilenet_v2", "head": "linear"},
        classes=tuple(map(str, range(1000))),
        input_size=(3, SIDE, SIDE),
        mean=tuple(MEAN.tolist()),
        std=tuple(STD.tolist()),
    )
    classifier.network.body.features = deepcopy(network.features)
    classifier.network.head.load_state_dict(network.classifier[1].state_dict())
    return classifier.eval()


def firstlight(network: Any) -> Forward:
    """Return the forward pass of an optimized Classifier, as `firstlight predict` uses it."""
    from firstlight.inference.engines.torch_engine import TorchEngine

    return answers_of(TorchEngine(classifier_with(network)))


def firstlight_onnx(network: Any) -> Forward:
    """Return the forward pass of an exported Classifier, as `firstlight predict --engine onnx` uses it."""
    from firstlight.delivery.export.graph import traced
    from firstlight.delivery.export.onnx_file import onnx_of
    from firstlight.inference.engines.onnx_engine import OnnxEngine

    classifier = classifier_with(network)
    return answers_of(OnnxEngine(onnx_of(traced(classifier), classifier)))


def answers_of(engine: Any) -> Forward:
    """Return the logits that an engine of firstlight gives, along with probabilities and features."""
    import torch

    return lambda images: engine(torch.from_numpy(images).permute(0, 3, 1, 2)).logits.numpy()


def onnx_bytes(network: Any) -> bytes:
    """Return the network as an ONNX file, for the other engines."""
    import torch

    file = io.BytesIO()
    sizes = {"images": {0: "batch"}}
    torch.onnx.export(
        network, (torch.zeros(2, 3, SIDE, SIDE),), file, input_names=["images"], dynamic_axes=sizes, dynamo=False
    )
    return file.getvalue()


def onnxruntime(network: Any) -> Forward:
    """Return the forward pass of ONNX Runtime, with its own optimizations on."""
    forward = bare_onnxruntime(network)
    return lambda images: forward(normalized(images))


def bare_onnxruntime(network: Any) -> Forward:
    """Return the forward pass of ONNX Runtime for images that were normalized before the clock started."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(onnx_bytes(network), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def openvino(network: Any) -> Forward:
    """Return the forward pass of OpenVINO, which chooses bfloat16 by itself where that is faster."""
    import openvino as vino

    core = vino.Core()
    compiled = core.compile_model(
        core.read_model(onnx_bytes(network)), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    )
    return lambda images: compiled(normalized(images))[0]


class Engine(NamedTuple):
    """How forward passes are made, and which packages make them.

    `set_up_process` keeps memory that the process has freed; `normalized_beforehand` is not what a user gets, but shows
    what the rest takes.
    """

    make: Callable[[Any], Forward]
    packages: tuple[str, ...]
    set_up_process: bool = False
    normalized_beforehand: bool = False


ENGINES = {
    "firstlight": Engine(firstlight, ("firstlight", "torch"), set_up_process=True),
    "firstlight, onnx": Engine(firstlight_onnx, ("firstlight", "torch", "onnxruntime"), set_up_process=True),
    "eager": Engine(eager, ("torch", "torchvision")),
    "eager, memory kept": Engine(eager, ("torch", "torchvision"), set_up_process=True),
    "onnxruntime": Engine(onnxruntime, ("onnxruntime",)),
    "onnxruntime, normalized beforehand": Engine(bare_onnxruntime, ("onnxruntime",), normalized_beforehand=True),
    "openvino": Engine(openvino, ("openvino",)),
}


if __name__ == "__main__":
    main()
