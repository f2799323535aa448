"""An export is one file that says what the model says, and is written only after it has said so on real images."""

import copy
import json
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch

import firstlight as fl
from firstlight.delivery.export import export, onnx_file
from firstlight.delivery.export.graph import traced
from firstlight.delivery.export.metadata import metadata_text
from firstlight.delivery.export.parity import Checked
from firstlight.errors import UserError, WrongTypeError


def answers_of(file, images):
    return onnxruntime.InferenceSession(file).run(["probabilities", "strangeness"], {"images": images})


def test_the_file_gives_what_the_model_gives(exported, digit_run, digits):
    images = digits[0][:64]
    probabilities, strangeness = answers_of(exported.file, images[..., None])
    model = fl.load(digit_run)
    assert np.abs(probabilities - model.predict_proba(images)).max() < 1e-5
    wanted = [prediction.strangeness for prediction in fl.predict(model, images)]
    assert np.abs(strangeness - np.array(wanted)).max() < 1e-3


@pytest.mark.parametrize("size", [1, 3, 64])
def test_it_takes_any_number_of_images(size, exported, digits):
    images = digits[0][:64, ..., None]
    together, _ = answers_of(exported.file, images)
    parts = [answers_of(exported.file, images[start : start + size])[0] for start in range(0, 64, size)]
    assert np.abs(np.concatenate(parts) - together).max() < 1e-6


def test_the_answer_has_the_fixed_names(exported):
    said = exported.to_json()
    assert list(said) == ["file", "to", "precision", "checked", "bytes"]
    assert list(said["checked"])[:3] == ["n", "top1_agreement", "max_difference"]
    assert (said["to"], said["precision"], said["bytes"]) == ("onnx", "float32", exported.file.stat().st_size)


def test_the_metadata_say_all_that_a_consumer_needs(exported, digit_run):
    metadata = onnxruntime.InferenceSession(exported.file).get_modelmeta().custom_metadata_map
    said = json.loads(metadata["firstlight"])
    model = digit_run.model
    assert said["model_sha256"] == fl.read_model_card(digit_run.folder / "model.safetensors").sha256
    assert said["classes"] == list(model.classes)
    assert (said["input_size"], said["resize"]) == ([1, 8, 8], "crop")
    assert said["trust"]["strangeness_threshold"] == model.trust.strangeness.threshold
    assert said["trust"]["set_quantile"] == model.trust.set_quantile
    assert said["checked"] == exported.checked.to_json()
    assert said["versions"].keys() == {"firstlight", "torch", "onnx", "onnxscript", "onnxruntime"}


def test_nothing_in_it_tells_where_it_was_made(exported):
    content = exported.file.read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content
    assert str(exported.file.parent).encode() not in content


@pytest.fixture(scope="module")
def program(digit_run, tmp_path_factory):
    return fl.export(digit_run, "torch", out=tmp_path_factory.mktemp("program") / "model.pt2")


def test_pytorch_alone_runs_the_file_of_torch_export(program, digit_run, digits):
    extra = {"firstlight.json": ""}
    loaded = torch.export.load(program.file, extra_files=extra).module()
    images = digits[0][:64]
    found = loaded(torch.from_numpy(images[..., None]))[0].detach().numpy()
    assert np.abs(found - fl.load(digit_run).predict_proba(images)).max() < 1e-5
    assert json.loads(extra["firstlight.json"])["classes"] == list(digit_run.model.classes)
    with zipfile.ZipFile(program.file) as archive:
        assert not any(b".py" in archive.read(name) for name in archive.namelist())


def test_the_same_model_gives_the_same_bytes(program, digit_run, tmp_path):
    again = fl.export(digit_run, "torch", out=tmp_path / "again.pt2")
    assert again.file.read_bytes() == program.file.read_bytes()


def test_an_export_that_fails_leaves_an_earlier_file_as_it_was(model, colored, tmp_path, monkeypatch):
    earlier = tmp_path / "model.pt2"
    earlier.write_bytes(b"earlier")

    def traced_with_a_fault(model):
        faulty = copy.deepcopy(model)
        faulty.temperature.fill_(1)
        return traced(faulty)

    monkeypatch.setattr(export, "traced", traced_with_a_fault)
    with pytest.raises(UserError, match=r"a probability is off by .*; nothing was written"):
        fl.export(model, "torch", check=colored, out=earlier)
    assert earlier.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [earlier]


def test_a_model_in_memory_is_exported_with_images_of_yours(model, colored, tmp_path):
    written = fl.export(model, "torch", check=colored, out=str(tmp_path / "model.pt2"))
    assert written.checked.n == 128
    extra = {"firstlight.json": ""}
    torch.export.load(written.file, extra_files=extra)
    said = json.loads(extra["firstlight.json"])
    assert (said["model_sha256"], said["trust"]) == (None, None)


def test_a_model_that_has_changed_since_is_not_that_of_its_file(digit_run):
    model = fl.load(digit_run)

    def digest():
        text = metadata_text(model, to="torch", precision="float32", opset=None, checked=Checked(64, 1, 0, {}))
        return json.loads(text)["model_sha256"]

    assert digest() is not None
    model.temperature.mul_(2)
    assert digest() is None


def test_images_that_cannot_be_used_are_told_and_left_out(model, digit_folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    message = (
        r"no pictures to check the export on \(1 of 1 cannot be used, such as .*broken.png: .*give at least 64 pict"
    )
    with pytest.raises(UserError, match=message):
        fl.export(model, "torch", check=tmp_path / "broken.png", out=tmp_path / "model.pt2")
    with pytest.raises(UserError, match="only 12 different pictures"):
        fl.export(model, "torch", check=[digit_folder / "3", digit_folder / "3"], out=tmp_path / "model.pt2")


def test_a_run_without_images_for_the_check_says_what_to_do(digit_run, tmp_path):
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((digit_run.folder / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"no pictures to check the export on \(.* holds none\); give at least 64"):
        fl.export(alone)


@pytest.fixture
def nothing_is_traced(tmp_path, monkeypatch):
    monkeypatch.delattr(export, "traced")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"to": "onx"}, "to = 'onx': choose onnx, torch; did you mean onnx"),
        ({"to": "torch", "precision": "int8"}, "precision = 'int8': it works with `to` onnx only; leave it out"),
        ({"precision": "float16"}, "choose float32, bfloat16, int8"),
        ({"out": "."}, "that is a folder; name a file, such as model.onnx"),
        ({"out": "model.pt2"}, r"its name must end in \.onnx"),
        ({"out": "nowhere/model.onnx"}, "its folder does not exist; name another"),
        ({"to": "torch", "out": None}, "a model in memory has no folder; name the file with `out`, such as model.pt2"),
        ({"check": None}, r"no pictures to check the export on \(the model is in memory, without a run\)"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(choices, message, model, colored, nothing_is_traced):
    with pytest.raises(UserError, match=message):
        fl.export(model, **{"check": colored, "out": "model.onnx"} | choices)
    assert not list(nothing_is_traced.iterdir())


def test_arguments_of_a_wrong_type_are_told(model):
    with pytest.raises(WrongTypeError, match="out is an int"):
        fl.export(model, out=3)
    with pytest.raises(WrongTypeError, match="an int|int cannot be classified"):
        fl.export(model, check=3, out="model.onnx")


def test_a_model_that_one_file_cannot_hold_is_told(model, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST_FILE", 100)
    with pytest.raises(UserError, match="one ONNX file holds at most 2; use `to` torch"):
        onnx_file.onnx_of(traced(model), model)


def test_missing_tools_are_told_before_any_work(model, colored, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"pip install 'firstlight\[export\]'"):
        fl.export(model, check=colored, out=tmp_path / "model.onnx")


def test_a_network_whose_path_depends_on_its_input_is_refused_in_one_line(model, colored, tmp_path, capfd):
    features = model.network.features
    model.network.features = lambda images: features(images) if images.sum() > 0 else features(-images)
    with pytest.raises(UserError, match="the network mlp cannot be exported: ") as refused:
        fl.export(model, "torch", check=colored, out=tmp_path / "model.pt2")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
