"""Weights as bfloat16: half the file, and computed in float32, since few runtimes compute in bfloat16 on processors.

Only large matrices and filters are stored so. Biases and depthwise filters, to which answers are most sensitive, have
few bytes, and keep float32.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import GraphProto

LEAST_WEIGHTS = 4096  # of a tensor that is worth it
LAYERS = {"Conv", "Gemm", "MatMul"}
HALF_UP, LOWER_BITS = 0x7FFF, 16


def bfloat16_of(content: bytes) -> bytes:
    """Return an ONNX file of float32 with its large weights rounded to bfloat16, and cast to float32 when it is loaded.

    Args:
        content: the bytes of the file, without metadata.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    model = ModelProto.FromString(content)
    graph = model.graph
    used = _weights_of_layers(graph)
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        is_depthwise = values.ndim > 2 and values.shape[1] == 1
        if tensor.name not in used or values.dtype != np.float32 or values.size < LEAST_WEIGHTS or is_depthwise:
            continue
        name = tensor.name
        tensor.CopyFrom(
            TensorProto(
                name=f"{name}.bfloat16",
                data_type=TensorProto.BFLOAT16,
                dims=values.shape,
                raw_data=rounded(values).tobytes(),
            )
        )
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.float32", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    fresh = ModelProto()
    fresh.graph.node.extend(nodes)
    graph.ClearField("node")
    graph.node.extend(fresh.graph.node)
    return bytes(model.SerializeToString(deterministic=True))


def _weights_of_layers(graph: "GraphProto") -> set[str]:
    """Return the names of what layers multiply with."""
    return {name for node in graph.node if node.op_type in LAYERS for name in node.input[1:2]}


def rounded(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return float32 as the bits of the nearest bfloat16, halves to the even one."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + HALF_UP + ((bits >> LOWER_BITS) & 1)) >> LOWER_BITS).astype("<u2")
