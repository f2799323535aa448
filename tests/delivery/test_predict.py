"""Image files: which ones a folder holds, and predictions as CSV."""

import csv

import pytest
import torch

from firstlight.delivery.predict import find_files, require_file, written_to_csv
from firstlight.errors import DataError
from firstlight.inference.predictor import Guess, Prediction, Predictor
from firstlight.models.classifier import Classifier


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Classifier(architecture={"name": "mlp"}, classes=tuple("0123456789"), input_size=(1, 8, 8))


@pytest.fixture
def file(digit_folder):
    return sorted((digit_folder / "5").iterdir())[0]


def test_a_folder_gives_its_images_in_order_and_nothing_hidden(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a.webp", ".hidden.png", "notes.txt", "b/.git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [name[len(str(tmp_path)) + 1 :] for name in find_files([str(tmp_path)])]
    assert found == ["a.webp", "b/1.JPG", "b/2.png"]


def test_a_path_that_does_not_exist_gets_a_row_and_the_rest_goes_on(file, model):
    rows = list(Predictor(model).predict_files(find_files(["nowhere", str(file)])))
    assert rows[0].to_json() == {"image": "nowhere", "error": "cannot be read: No such file or directory"}
    assert rows[1].error is None


def test_a_link_in_a_folder_is_not_followed(file, tmp_path):
    (tmp_path / "linked.png").symlink_to(file)
    assert list(find_files([str(tmp_path)])) == []


def test_predictions_pass_on_and_stand_in_the_csv_when_the_last_one_is_in(tmp_path):
    given = [
        Prediction("a,b.png", "cat", 0.75, (Guess("cat", 0.75),)),
        Prediction("not \udce9 Unicode.png", error="holds text"),
    ]
    passed = []
    for prediction in written_to_csv(iter(given), tmp_path / "p.csv"):
        assert not (tmp_path / "p.csv").exists()
        passed.append(prediction)
    assert passed == given
    with (tmp_path / "p.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["label"] for row in rows] == ["cat", ""]
    assert [float(row["probability"] or 0) for row in rows] == [0.75, 0]
    assert [row["error"] for row in rows] == ["", "holds text"]
    assert rows[0]["image"] == "a,b.png"


def test_a_csv_that_cannot_be_written_is_one_clear_line(tmp_path):
    for path, words in ((tmp_path, "it is not a file"), (tmp_path / "no" / "p.csv", "it cannot be written")):
        with pytest.raises(DataError, match=words) as raised:
            list(written_to_csv([], path))
        assert (raised.value.field, raised.value.value) == ("csv", str(path))


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0", b'{"valid": 1}', b"<!doctype html>", b"[data]\nsplit = 1"])
def test_a_csv_replaces_no_file_that_is_not_a_table(content, tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(content)
    with pytest.raises(DataError, match="that is no table, so it is not replaced"):
        require_file(path)
    path.write_text("image,label\n<b>,{\n")
    require_file(path)
    with pytest.raises(DataError, match="the command reads this file"):
        require_file(path, None, "nowhere", str(path))
