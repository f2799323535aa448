"""What an `.onnx` file of a stranger must not contain: what makes ONNX Runtime read other files, or run forever."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from firstlight.errors import ModelFileError, UserError

if TYPE_CHECKING:
    from onnx import GraphProto, TensorProto

MAX_NODES = 100_000
DOMAINS = {"", "ai.onnx", "com.microsoft"}  # ONNX's own operators, and those that ONNX Runtime's quantization adds


def require_safe(content: bytes) -> dict[str, str]:
    """Refuse an ONNX file that is damaged, refers to other files, or has parts that no export of ours has.

    Returns its metadata: text by key.

    Args:
        content: the bytes of the file; nothing in them is run.

    Raises:
        ModelFileError: with the reason.
        UserError: if ONNX is not installed.
    """
    try:
        from onnx import ModelProto, TensorProto
    except ImportError:
        raise UserError("ONNX is not installed; pip install 'firstlight[export]'") from None
    try:
        model = ModelProto.FromString(content)
    except Exception:  # protobuf's kind of error is not among the modules that onnx shows
        raise ModelFileError("it is damaged, or no ONNX file") from None
    graph = model.graph
    if not graph.node:
        raise ModelFileError("it is damaged, or no ONNX file")
    if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in _tensors(graph)):
        raise ModelFileError("it refers to other files, which an export of firstlight never does")
    if model.functions or any(node.domain not in DOMAINS for node in graph.node):
        raise ModelFileError("it needs operators that are not ONNX's own")
    inner = any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute)
    if inner or len(graph.node) > MAX_NODES:
        raise ModelFileError("it has loops or branches, which an export of firstlight never has")
    return {entry.key: entry.value for entry in model.metadata_props}


def _tensors(graph: "GraphProto") -> "Iterator[TensorProto]":
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
