"""An export is one file that says what the model says, and is written only after it has said so on real images."""

import json

import numpy as np
import onnxruntime
import pytest

import firstlight as fl


@pytest.fixture(scope="session")
def exported(digit_run, tmp_path_factory):
    """A run's model as ONNX; the file is not to be changed."""
    return fl.export(digit_run, out=tmp_path_factory.mktemp("exported") / "model.onnx")


def test_the_file_gives_what_the_model_gives(exported, digit_run, digits):
    images = digits[0][:64, ..., None]
    (found,) = onnxruntime.InferenceSession(exported.file).run(["probabilities"], {"images": images})
    assert np.abs(found - fl.load(digit_run).predict_proba(images)).max() < 1e-5


def test_the_answer_has_the_fixed_names(exported):
    said = exported.to_json()
    assert list(said) == ["file", "to", "precision", "checked", "bytes"]
    assert list(said["checked"])[:3] == ["n", "top1_agreement", "max_difference"]
    assert (said["to"], said["precision"], said["bytes"]) == ("onnx", "float32", exported.file.stat().st_size)


def test_the_metadata_say_all_that_a_consumer_needs(exported, digit_run):
    metadata = onnxruntime.InferenceSession(exported.file).get_modelmeta().custom_metadata_map
    said = json.loads(metadata["firstlight"])
    assert said["model_sha256"] == fl.read_model_card(digit_run.folder / "model.safetensors").sha256
    assert tuple(said["classes"]) == digit_run.model.classes
    assert said["checked"] == exported.checked.to_json()
