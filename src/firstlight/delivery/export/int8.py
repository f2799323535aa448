"""Weights and activations as 8-bit integers, by ONNX Runtime's static quantization on real images.

Only the network up to its features is quantized. What follows, the head, calibration and strangeness, costs little,
and stays float32, so that thresholds keep their meaning. A way of quantizing is tried only if those before it lose too
much. The first layers lose most, and have the fewest weights. What the features lose on average is added to them.

All give the same answers on processors with and without instructions for products of 8 bits: weights have 7 bits, or
no sign. Without such instructions, products of signed weights of 8 bits are added up in 16 bits, and overflow.
"""

import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from firstlight.delivery.export.chatter import no_chatter
from firstlight.inference.engines.onnx_engine import INPUT, OnnxEngine

if TYPE_CHECKING:
    from onnx import GraphProto

AT_ONCE = 2  # images
PERCENTILE = 99.99  # of activations are inside the range; the rest is clipped
FEATURES = "features"  # the output up to which everything is quantized


@dataclass(frozen=True, slots=True)
class Way:
    """A way of quantizing.

    Attributes:
        name: in words.
        signed: whether weights have a sign, and 7 bits; else 8 bits without a sign.
        floats: the fraction of the layers, from the first on, that stay float32.
    """

    name: str
    signed: bool
    floats: float = 0.0


WAYS = (  # the fastest first; without a sign, products take more time on processors without instructions for them
    Way("weights of 7 bits", signed=True),
    Way("weights of 7 bits, the first quarter of the layers in float32", signed=True, floats=0.25),
    Way("weights of 7 bits, the first half of the layers in float32", signed=True, floats=0.5),
    Way("weights of 8 bits, the first quarter of the layers in float32", signed=False, floats=0.25),
    Way("weights of 8 bits, the first half of the layers in float32", signed=False, floats=0.5),
)


def int8_files(content: bytes, images: Tensor) -> Iterator[tuple[str, bytes]]:
    """Yield an ONNX file of float32 quantized in every way, the fastest first: its name in words, and the bytes.

    Args:
        content: the bytes of the file, without metadata.
        images: real ones, from which the ranges of activations are learned, uint8 `[N, C, H, W]`.
    """
    from onnx import ModelProto
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    wanted = OnnxEngine(content).features_and_logits(images)[0]
    with tempfile.TemporaryDirectory() as folder:
        file, more = Path(folder) / "model.onnx", {}
        if "calibration_cache_path" in signature(quantize_static).parameters:  # newer versions; ranges are learned once
            more["calibration_cache_path"] = Path(folder) / "ranges.json"
        for way in WAYS:
            model = _named(content)
            with no_chatter(), redirect_stdout(io.StringIO()):
                quantize_static(
                    model,
                    file,
                    _Images(images),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    reduce_range=way.signed,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8 if way.signed else QuantType.QUInt8,
                    calibrate_method=CalibrationMethod.Percentile,
                    nodes_to_exclude=_left_out(model.graph, way.floats),
                    extra_options={"CalibPercentile": PERCENTILE},
                    **more,
                )
            made = ModelProto.FromString(file.read_bytes())
            del made.metadata_props[:]
            found = OnnxEngine(made.SerializeToString()).features_and_logits(images)[0]
            _shift_features(made.graph, (wanted - found).mean(dim=0))
            yield way.name, bytes(made.SerializeToString(deterministic=True))


def _shift_features(graph: "GraphProto", shift: Tensor) -> None:
    """Add a constant to the features of a graph, float32 `[D]`: what quantization takes from them on average."""
    from onnx import NodeProto, helper, numpy_helper

    before, constant = f"{FEATURES}.quantized", f"{FEATURES}.shift"
    position, node = next((at, node) for at, node in enumerate(graph.node) if FEATURES in node.output)
    node.output[list(node.output).index(FEATURES)] = before
    graph.initializer.append(numpy_helper.from_array(shift.numpy(), constant))
    added: NodeProto = helper.make_node("Add", [before, constant], [FEATURES], f"{FEATURES}.shifted")
    graph.node.insert(position + 1, added)


class _Images:
    """Feeds real images to the calibration of ONNX Runtime."""

    def __init__(self, images: Tensor) -> None:
        even = len(images) - len(images) % AT_ONCE  # histograms want batches of one size
        self._pixels = images[:even].permute(0, 2, 3, 1).contiguous().numpy()
        self._starts = iter(range(0, even, AT_ONCE))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next images as inputs, or None after the last."""
        start = next(self._starts, None)
        return None if start is None else {INPUT: self._pixels[start : start + AT_ONCE]}


def _named(content: bytes) -> Any:
    """Return a model as ONNX Runtime's quantization takes it without remarks."""
    from onnx import ModelProto

    model = ModelProto.FromString(content)
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    return model


def _left_out(graph: "GraphProto", floats: float) -> list[str]:
    """Return the names of the nodes that stay float32: the first ones, and all from which no features are computed."""
    body = _before(graph, FEATURES)
    names = [node.name for node in graph.node]
    inside = [name for name in names if name in body]
    first = set(inside[: round(len(inside) * floats)])
    return [name for name in names if name not in body or name in first]


def _before(graph: "GraphProto", output: str) -> set[str]:
    """Return the names of the nodes from which an output is computed."""
    made_by = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    wanted: Iterable[str] = [output]
    while wanted:
        nodes = [made_by[name] for name in wanted if name in made_by and made_by[name].name not in found]
        found.update(node.name for node in nodes)
        wanted = {name for node in nodes for name in node.input}
    return found
