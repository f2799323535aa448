"""The `.onnx` file: the graph as ONNX, without a trace of the machine that made it, and its metadata."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from firstlight.delivery.export.chatter import no_chatter
from firstlight.delivery.export.graph import unexportable
from firstlight.delivery.export.metadata import KEY
from firstlight.errors import UserError
from firstlight.inference.engines.onnx_engine import INPUT, OUTPUTS
from firstlight.models.classifier import Classifier

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.export import ExportedProgram

OPSET = 20  # of ONNX; runtimes since 2023 read it
LARGEST_FILE = 2**31 - 2**20  # bytes; ONNX keeps a larger model in several files


def require_onnx() -> None:
    """Refuse to begin where the tools for ONNX are missing.

    Raises:
        UserError: if they are.
    """
    if not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        raise UserError("exporting to ONNX takes tools that are not installed; pip install 'firstlight[export]'")


def onnx_of(program: "ExportedProgram", model: Classifier) -> bytes:
    """Return a traced model as the bytes of an ONNX file, without metadata; the same model gives the same bytes.

    Raises:
        UserError: if the file would have over 2 GB, or ONNX has no word for an operation.
    """
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > LARGEST_FILE:
        raise UserError(f"the model has {size / 1e9:.1f} GB, and one ONNX file holds at most 2; use `to` torch")
    try:
        from torch.onnx import export

        with no_chatter():
            made = export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                external_data=False,
            )
        assert made is not None
        proto: ModelProto = made.model_proto
    except Exception as error:  # an operation that ONNX lacks stops the exporter, each in its own way
        raise unexportable(model, error) from error
    _make_anonymous(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def with_metadata(content: bytes, text: str) -> bytes:
    """Return an ONNX file with our metadata; the graph in it stays as it is, byte by byte."""
    from onnx import ModelProto

    more = ModelProto()
    more.metadata_props.add(key=KEY, value=text)
    # Protobuf joins the fields of messages that follow each other.
    return content + bytes(more.SerializeToString())


def _make_anonymous(proto: "ModelProto") -> None:
    """Take out the paths of this machine, and all else that the exporter noted about its own work; name N."""
    graph = proto.graph
    del proto.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
