"""Golden pictures tell a right pipeline from wrong ones, and name what is wrong with them."""

import json
import shutil

import numpy as np
import pytest
import torch

import firstlight as fl
from firstlight.delivery.export import golden as golden_module
from firstlight.delivery.export.faults import UNCALIBRATED, faults_of, rounded_otherwise
from firstlight.delivery.export.golden import read_golden, write_golden
from firstlight.delivery.export.verify import verify
from firstlight.errors import DataError, WrongTypeError
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier
from firstlight.runs.outputs import CHECK_IMAGES_FILE, read_thumbnails


@pytest.fixture(scope="module")
def gray(digit_run, tmp_path_factory):
    """A model of gray 8 x 8 digits with its golden pictures."""
    pictures = list(read_thumbnails(digit_run.folder, CHECK_IMAGES_FILE).values())
    return golden_of(digit_run.model, pictures, tmp_path_factory.mktemp("gray") / "model.onnx")


@pytest.fixture(scope="module")
def color(tmp_path_factory):
    """A model of colored pictures, 24 x 24 pixels of real photographs, with its golden pictures."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    pictures = [photographs[k % 2][40 * k : 40 * k + 24, 60 * k : 60 * k + 24] for k in range(8)]
    torch.manual_seed(1)
    model = Classifier(
        architecture={"name": "mlp"}, classes=("a", "b", "c"), input_size=(3, 24, 24), resize="crop:0.875"
    )
    model.temperature.fill_(0.05)  # so that its answers are not all alike
    return golden_of(model.eval(), pictures, tmp_path_factory.mktemp("color") / "model.onnx")


def golden_of(model, pictures, file):
    return model, TorchEngine(model), read_golden(write_golden(file, model, TorchEngine(model), pictures))


def answer(engine, pixels):
    return engine(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]).probabilities[0].numpy()


@pytest.fixture(params=["gray", "color"])
def case(request):
    return request.getfixturevalue(request.param)


def test_the_predictor_agrees_with_its_own_golden_pictures(case):
    model, _, golden = case
    found = verify(lambda file: Predictor(model).probabilities(file)[0], golden)
    assert found.ok and found.cause is None
    assert [one.image for one in found.images] == ["large.jpg", "turned.jpg", "transparent.png"]
    assert max(one.difference for one in found.images) < 1e-5


def test_a_pipeline_that_only_rounds_otherwise_agrees(case):
    model, engine, golden = case
    assert verify(lambda file: answer(engine, rounded_otherwise(file.read_bytes(), model)), golden).ok


def test_each_fault_that_the_pictures_show_is_refused_and_named(case):
    model, engine, golden = case
    shown = dict.fromkeys(words for one in golden.images for words in one.if_wrong if words != UNCALIBRATED)
    assert len(shown) >= 10
    for fault in shown:

        def wrong(file, fault=fault):
            faults = dict(faults_of(file.read_bytes(), model))
            right = Predictor(model).probabilities(file)[0]
            return answer(engine, faults[fault]) if fault in faults else right

        found = verify(wrong, golden)
        assert not found.ok
        assert found.cause == fault
        assert f"likely cause: {fault}" in str(found)


def test_the_pictures_show_the_faults_for_which_they_were_made(case):
    model, _, golden = case
    large, turned, transparent = golden.images
    words = " ".join(large.if_wrong)
    assert "antialias" in words and ("BGR" in words or model.input_size[0] == 1)
    assert any("EXIF" in fault for fault in turned.if_wrong)
    assert any("not drawn on white" in fault for fault in transparent.if_wrong)
    assert not any("EXIF" in fault for fault in large.if_wrong)


def test_two_faults_are_both_named_where_each_picture_shows_one(gray):
    _, _, golden = gray
    rows = {one.image: one.probabilities for one in golden.images}
    faults = {}
    for one in golden.images[1:]:
        faults[one.image] = next(words for words in one.if_wrong if "EXIF" in words or "transparent" in words)
        rows[one.image] = one.if_wrong[faults[one.image]]
    assert verify(rows, golden).cause == "; ".join(faults.values())


def test_the_tolerance_grows_with_what_another_way_of_rounding_changes(gray, tmp_path, monkeypatch):
    model, engine, golden = gray
    monkeypatch.setattr(golden_module, "rounded_otherwise", lambda file, model: 255 - rounded_otherwise(file, model))
    folder = write_golden(tmp_path / "a.onnx", model, engine, [np.eye(8, dtype=np.uint8)[..., None] * 255])
    assert golden.tolerance == 0.005 < read_golden(folder).tolerance
    assert f"within {read_golden(folder).tolerance:g} of" in " ".join((folder / "preprocess.md").read_text().split())


def test_faults_after_the_network_are_named(gray):
    _, _, golden = gray
    right = [one.probabilities for one in golden.images]
    assert verify(right, golden).ok
    assert verify([one[::-1] for one in right], golden).cause == "the classes are in another order"
    assert verify(right[::-1], golden).cause == "the pictures are in another order"
    assert "sum to" in verify([one * 3 for one in right], golden).cause
    assert "sum to nan" in verify([one * np.nan for one in right], golden).cause
    uncalibrated = [one.if_wrong.get(UNCALIBRATED, one.probabilities) for one in golden.images]
    assert verify(uncalibrated, golden).cause == UNCALIBRATED


def test_where_only_one_picture_differs_for_unknown_reasons_it_is_said_what_it_checks(gray):
    _, _, golden = gray
    rows = {one.image: one.probabilities for one in golden.images}
    rows["turned.jpg"] = np.full(10, 0.1)
    assert verify(rows, golden).cause == "its EXIF orientation: only turned.jpg differs"
    rows["large.jpg"] = np.full(10, 0.1)
    found = verify(rows, golden)
    assert found.cause is None and "none of the usual mistakes" in str(found)


def test_answers_are_taken_as_json_too(gray, tmp_path):
    _, _, golden = gray
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({one.image: one.probabilities.tolist() for one in golden.images}))
    assert fl.verify_export(file, golden.folder).ok
    file.write_text(json.dumps([one.probabilities.tolist() for one in golden.images]))
    found = fl.verify_export(str(file), str(golden.folder))
    assert found.ok
    assert json.loads(json.dumps(found.to_json()))["images"][0]["agrees"] is True


@pytest.mark.parametrize(
    ("pipeline", "error", "message"),
    [
        (3, WrongTypeError, "file is an int; give"),
        ([[0.1] * 10] * 2, DataError, "there are 2 answers, not 3"),
        ({"large.jpg": [0.1] * 10}, DataError, "no answer for turned.jpg"),
        (lambda _file: [0.5, 0.5], DataError, "large.jpg has 2 numbers, but there are 10 classes"),
        (lambda _file: None, DataError, "large.jpg has 1 numbers"),
        (lambda _file: {"cat": 1}, WrongTypeError, "large.jpg is a dict; give its probabilities"),
    ],
)
def test_what_is_no_pipeline_is_refused_with_what_to_give(gray, pipeline, error, message):
    with pytest.raises(error, match=message):
        fl.verify_export(pipeline, gray[2].folder)


def test_damaged_or_missing_golden_pictures_are_refused(gray, tmp_path):
    with pytest.raises(DataError, match="give the folder that export wrote"):
        fl.verify_export([], tmp_path)
    folder = shutil.copytree(gray[2].folder, tmp_path / "damaged")
    for damage in ("{", "[]", '{"classes": 3}', '{"classes": ["a"], "images": [{"image": "x"}], "tolerance": 1}'):
        (folder / "expected.json").write_text(damage)
        with pytest.raises(DataError, match="not what export wrote"):
            fl.verify_export([], folder)


def test_golden_pictures_are_the_same_every_time_and_few_bytes(gray, tmp_path):
    model, engine, golden = gray
    pictures = [np.zeros((8, 8, 1), np.uint8), np.full((8, 8, 1), 99, np.uint8)]
    first = write_golden(tmp_path / "a.onnx", model, engine, pictures)
    files = {file.name: file.read_bytes() for file in first.iterdir()}
    second = write_golden(tmp_path / "a.onnx", model, engine, pictures)
    assert {file.name: file.read_bytes() for file in second.iterdir()} == files
    assert set(files) == {"expected.json", "preprocess.md", "large.jpg", "turned.jpg", "transparent.png"}
    assert sum(file.stat().st_size for file in golden.folder.iterdir()) < 20_000
