"""ONNX Runtime gives what PyTorch gives, for any number of images, in threads, and after a journey as bytes."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
import torch

from firstlight.errors import ModelFileError
from firstlight.inference.engines import onnx_engine
from firstlight.inference.engines.onnx_engine import OnnxEngine
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.inference.predictor import Predictor


@pytest.fixture(scope="module")
def engine(exported):
    return OnnxEngine(exported.file)


@pytest.fixture(scope="module")
def images(digits):
    return torch.from_numpy(digits[0][:100, None])


def test_it_answers_as_torch_does(engine, digit_run, images):
    expected, found = TorchEngine(digit_run.model)(images), engine(images)
    for wanted, given in zip(expected, found, strict=True):
        assert given.dtype == wanted.dtype == torch.float32
        torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)
    features, logits = engine.features_and_logits(images)
    assert torch.equal(features, found.features) and torch.equal(logits, found.logits)


def test_predictions_are_those_of_torch(engine, digit_run, digits):
    images = digits[0][-100:, ..., None]  # none of the run: an image that a threshold comes from lies exactly on it
    expected = list(Predictor(digit_run.model)(images))
    found = list(Predictor(digit_run.model, engine=engine)(images))
    assert [each.label for each in found] == [each.label for each in expected]
    assert [each.reason for each in found] == [each.reason for each in expected]


def test_many_images_go_through_it_in_parts_and_come_back_in_their_order(exported, images, monkeypatch):
    whole = OnnxEngine(exported.file)(images)
    monkeypatch.setattr(onnx_engine, "MAX_PIXELS_AT_ONCE", 3 * 64)
    in_threes = OnnxEngine(exported.file)
    sizes, run = [], in_threes._session.run
    in_threes._session = type("Session", (), {})()
    in_threes._session.run = lambda names, fed: sizes.append(len(fed["images"])) or run(names, fed)
    found = in_threes(images)
    assert sizes == [3] * 33 + [1]
    for one, other in zip(whole, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_an_image_larger_than_what_goes_at_once_goes_alone(exported, images, monkeypatch):
    monkeypatch.setattr(onnx_engine, "MAX_PIXELS_AT_ONCE", 10)
    assert len(OnnxEngine(exported.file)(images[:3]).logits) == 3


def test_images_with_channels_first_in_memory_are_understood(engine, images):
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(engine(images).logits, engine(last).logits)


def test_it_answers_the_same_after_pickling_though_its_file_is_gone(exported, images, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(exported.file.read_bytes())
    engine = OnnxEngine(file)
    file.unlink()
    for _ in range(2):
        again = pickle.loads(pickle.dumps(engine))
        assert torch.equal(again(images).probabilities, engine(images).probabilities)
        engine = again


def test_threads_may_share_it(engine, images):
    expected = [engine(images[row : row + 1]).logits for row in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: engine(images[row : row + 1]).logits, range(40)))
    assert all(map(torch.equal, expected, found))


def test_a_model_that_cannot_tell_strangers_says_none(exported, images):
    import onnx

    proto = onnx.load(exported.file)
    [entry] = [entry for entry in proto.metadata_props if entry.key == "firstlight"]
    before, entry.value = entry.value, '{"trust": null}'
    assert OnnxEngine(proto.SerializeToString())(images).strangeness is None
    entry.value = before
    assert OnnxEngine(proto.SerializeToString())(images).strangeness is not None


@pytest.mark.parametrize("content", [b"", b"abc" * 100])
def test_what_cannot_be_run_ends_in_one_line_and_nothing_on_stderr(content, capfd):
    with pytest.raises(ModelFileError, match="ONNX Runtime cannot run the exported model: .*; export it again") as told:
        OnnxEngine(content)
    assert "\n" not in str(told.value) and "ONNXRuntimeError" not in str(told.value)
    assert capfd.readouterr().err == ""


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="model.onnx: it cannot be read"):
        OnnxEngine(tmp_path / "model.onnx")


def test_a_session_has_as_many_threads_as_asked_for(exported, monkeypatch):
    asked, session = [], onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda content, options, **more: asked.append(options) or session(content, options, **more),
    )
    OnnxEngine(exported.file, threads=3)
    OnnxEngine(exported.file)
    assert [options.intra_op_num_threads for options in asked] == [3, torch.get_num_threads()]


def test_no_images_have_no_answers(engine):
    assert engine(torch.zeros(0, 1, 8, 8, dtype=torch.uint8)).probabilities.shape == (0, 10)
    assert np.isfinite(engine(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).probabilities.numpy()).all()
