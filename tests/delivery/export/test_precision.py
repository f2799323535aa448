"""Exports of fewer bits are smaller, still answer as the model does, and are refused where they do not."""

import json
import logging

import numpy as np
import onnx
import pytest
import torch

import firstlight as fl
from firstlight.delivery.export.bfloat16 import LEAST_WEIGHTS, bfloat16_of, rounded
from firstlight.delivery.export.check_images import true_labels
from firstlight.delivery.export.int8 import WAYS, int8_files
from firstlight.delivery.export.parity import Checked, compared, require_parity
from firstlight.delivery.export.precision import passed
from firstlight.errors import DataError, UserError
from firstlight.evaluation.intervals import Estimate, proportion
from firstlight.inference.engines.answers import Answers
from firstlight.inference.engines.onnx_engine import OnnxEngine
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.runs.outputs import CHECK_IMAGES_FILE, read_outputs, read_thumbnails


@pytest.fixture(scope="module")
def content(exported):
    """The bytes of an export of a model of digits in float32."""
    return exported.file.read_bytes()


@pytest.fixture(scope="module")
def images(digits):
    """Digits that the model has not seen, uint8 [N, 1, 8, 8]."""
    return torch.from_numpy(digits[0][1000:1160, None])


@pytest.fixture(scope="module")
def int8(content, images):
    return dict(int8_files(content, images[::5]))


def test_numbers_are_rounded_to_bfloat16_as_pytorch_does():
    numbers = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    numbers = np.append(numbers, np.float32([0, -0.0, 1, 1 + 2**-8, 1 + 3 * 2**-8, 3e38])).astype(np.float32)
    expected = torch.from_numpy(numbers).bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert (rounded(numbers) == expected).all()


def test_bfloat16_halves_the_large_weights_and_keeps_the_answers(content, images, digit_run):
    made = bfloat16_of(content)
    before, after = onnx.load_from_string(content), onnx.load_from_string(made)
    large = sum(4 * np.prod(one.dims) for one in before.graph.initializer if np.prod(one.dims) >= LEAST_WEIGHTS)
    assert len(made) <= len(content) - large / 2 + 500
    onnx.checker.check_model(after)
    assert any(one.data_type == onnx.TensorProto.BFLOAT16 for one in after.graph.initializer)
    checked = compared(TorchEngine(digit_run.model), OnnxEngine(made), images)
    assert checked.top1_agreement == 1 and 0 < checked.max_difference < 0.02


def test_every_way_of_int8_keeps_the_answers_and_is_smaller(int8, content, images, digit_run):
    assert len(int8) == len(WAYS)
    for name, made in int8.items():
        checked = compared(TorchEngine(digit_run.model), OnnxEngine(made), images)
        assert checked.top1_agreement > 0.98, name
        assert checked.max_difference > 1e-4
        assert len(made) < len(content)


def test_the_head_and_the_strangeness_stay_float32(int8):
    for made in int8.values():
        graph = onnx.load_from_string(made).graph
        made_by = {name: node for node in graph.node for name in node.output}
        followers = {"features"}
        for node in graph.node:  # which are in order
            if followers & set(node.input):
                followers.update(node.output)
                assert "Linear" not in node.op_type, node.name
        assert {"logits", "probabilities"} <= followers
        assert made_by["features"].op_type != "QuantizeLinear"
        assert any(node.op_type == "QuantizeLinear" for node in graph.node)


def test_weights_of_7_bits_cannot_overflow(int8):
    graph = onnx.load_from_string(int8["weights of 7 bits"]).graph
    weights = [onnx.numpy_helper.to_array(one) for one in graph.initializer if one.data_type == onnx.TensorProto.INT8]
    assert any(one.ndim > 1 for one in weights)
    assert max(int(np.abs(one.astype(int)).max()) for one in weights if one.ndim > 1) <= 64


def test_quantizing_says_nothing_and_leaves_logging_as_it_was(content, images, capfd):
    before = logging.getLogger().handlers[:], logging.getLogger().level
    next(int8_files(content, images[::5]))
    assert capfd.readouterr() == ("", "")
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


def test_the_same_images_give_the_same_bytes(int8, content, images):
    name, made = next(int8_files(content, images[::5]))
    assert made == int8[name]


def test_int8_is_checked_on_other_images_than_it_learns_from(content, images, digit_run):
    seen = []

    def engine(made):
        runs = OnnxEngine(made)

        def call(batch):
            seen.append(batch)
            return runs(batch)

        return call

    made, checked = passed(content, digit_run.model, images, engine, "int8")
    assert (checked.n, checked.learned_from) == (128, 32)
    assert checked.made_by in {way.name for way in WAYS}
    checked_on = {one.numpy().tobytes() for one in torch.cat(seen)[: checked.n]}
    assert not checked_on & {one.numpy().tobytes() for one in images[::5]}
    assert abs(checked.refused - checked.model_refused) < 0.05
    said = checked.to_json()
    assert said["learned_from"] == 32 and "accuracy" not in said
    assert made != content


def test_int8_says_how_many_images_it_needs(content, images, digit_run):
    with pytest.raises(DataError, match=r"int8 needs 80 pictures, a fifth of them to learn from.*`check`"):
        passed(content, digit_run.model, images[:79], OnnxEngine, "int8")
    passed(content, digit_run.model, images[:80], OnnxEngine, "int8")


def test_the_next_way_is_taken_if_one_loses_too_much_and_the_last_failure_is_told(content, images, digit_run):
    tried = []

    def broken_for(ways):
        def engine(made):
            tried.append(made)
            runs = OnnxEngine(made)
            is_broken = len(tried) <= ways
            return lambda batch: reversed_classes(runs(batch)) if is_broken else runs(batch)

        return engine

    _, checked = passed(content, digit_run.model, images, broken_for(1), "int8")
    assert checked.made_by == WAYS[1].name and len(tried) == 2
    tried.clear()
    with pytest.raises(UserError, match="it gives another class for"):
        passed(content, digit_run.model, images, broken_for(99), "int8")
    assert len(tried) == len(WAYS)


def reversed_classes(answers: Answers) -> Answers:
    return answers._replace(probabilities=answers.probabilities.flip(1))


def test_an_export_that_is_less_accurate_than_chance_explains_is_refused():
    good = Checked(128, 1.0, 0.05, {}, accuracy=0.80, model_accuracy=proportion(105, 128))
    require_parity(good, "int8")
    bad = Checked(128, 1.0, 0.05, {}, accuracy=0.70, model_accuracy=Estimate(0.82, 0.744, 0.877, 128))
    with pytest.raises(UserError, match=r"accuracy of 0\.700 is below the model's 0\.820 \[0\.744, 0\.877\]"):
        require_parity(bad, "int8")
    assert bad.to_json()["model_accuracy"] == {"value": 0.82, "low": 0.744, "high": 0.877, "n": 128}


def test_the_classes_of_the_images_that_a_run_kept_are_known(digit_run):
    kept = read_thumbnails(digit_run.folder, CHECK_IMAGES_FILE)
    images = torch.from_numpy(np.stack(list(kept.values()))).permute(0, 3, 1, 2)
    labels = true_labels(digit_run.model, images)
    valid = read_outputs(digit_run.folder, "valid")
    by_name = dict(zip(valid.names, valid.labels.tolist(), strict=True))
    known = [(by_name[name], label) for name, label in zip(kept, labels.tolist(), strict=True) if name in by_name]
    assert known and all(one == other for one, other in known)
    assert int((labels >= 0).sum()) == len(labels)
    assert true_labels(digit_run.model, 255 - images).tolist() == [-1] * len(images)
    checked = compared(TorchEngine(digit_run.model), TorchEngine(digit_run.model), images, labels=labels)
    assert checked.accuracy == checked.model_accuracy.value > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_a_convolutional_network_exports_with_fewer_bits(convolutional_run, precision):
    found = fl.export(convolutional_run, precision=precision)
    assert found.file == convolutional_run.folder / f"model.{precision}.onnx"
    said = found.to_json()["checked"]
    assert said["n"] >= 64 and said["top1_agreement"] >= 0.99
    assert said["accuracy"] >= said["model_accuracy"]["low"]
    assert abs(said["refused"] - said["model_refused"]) <= 0.05
    metadata = json.loads(OnnxEngine(found.file).metadata["firstlight"])
    assert metadata["precision"] == precision and metadata["checked"] == said
    assert fl.verify_export(found.file).ok


@pytest.fixture(scope="module")
def convolutional_run(digits, tmp_path_factory):
    """A run of the cnn on digits, which keeps 128 pictures; other tests write exports into its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        out = tmp_path_factory.mktemp("runs") / "cnn"
        return fl.train(digits, model="cnn", epochs=2, out=out)
