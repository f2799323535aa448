"""An ONNX file of a stranger is refused if it has what no export has; nothing in it is run."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from firstlight.errors import ModelFileError
from firstlight.inference.engines.onnx_safety import require_safe


def file_with(*nodes, weights=None, opsets=()) -> onnx.ModelProto:
    weights = weights or numpy_helper.from_array(np.zeros(1, np.float32), "weights")
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 8, 8, 1])
    answers = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "graph", [images], [answers], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), *opsets])
    made.metadata_props.add(key="firstlight", value="{}")
    return made


def cast():
    return helper.make_node("Cast", ["images"], ["logits"], to=TensorProto.FLOAT)


def elsewhere(name: str = "weights") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def test_an_ordinary_file_passes_and_its_metadata_are_returned():
    assert require_safe(file_with(cast()).SerializeToString()) == {"firstlight": "{}"}


def test_an_export_passes(exported):
    assert "firstlight" in require_safe(exported.file.read_bytes())


@pytest.mark.parametrize("content", [b"", b"abc" * 100, b"<html>", b"\x08\x0a"])
def test_what_is_no_onnx_file_is_refused(content):
    with pytest.raises(ModelFileError, match="damaged, or no ONNX file"):
        require_safe(content)


def test_a_file_that_was_cut_short_is_refused(exported):
    content = exported.file.read_bytes()
    with pytest.raises(ModelFileError, match="damaged"):
        require_safe(content[: len(content) // 2])


def test_weights_in_other_files_are_refused_wherever_they_are_named():
    constant = helper.make_node("Constant", [], ["more"], value=elsewhere("value"))
    sparse = helper.make_node("Constant", [], ["more"])
    sparse.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR).sparse_tensor.values.CopyFrom(
        elsewhere()
    )
    for hostile in (file_with(cast(), weights=elsewhere()), file_with(cast(), constant), file_with(cast(), sparse)):
        with pytest.raises(ModelFileError, match="refers to other files"):
            require_safe(hostile.SerializeToString())


def test_operators_that_are_not_onnx_s_own_are_refused():
    evil = helper.make_node("Evil", ["images"], ["logits"], domain="evil")
    with pytest.raises(ModelFileError, match="operators"):
        require_safe(file_with(evil, opsets=[helper.make_opsetid("evil", 1)]).SerializeToString())


def test_loops_are_refused():
    body = helper.make_graph([], "forever", [], [])
    loop = helper.make_node("Loop", ["", "", "images"], ["logits"], body=body)
    with pytest.raises(ModelFileError, match="loops"):
        require_safe(file_with(loop).SerializeToString())
