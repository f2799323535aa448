"""What only training needs is refused by training alone; check says it beforehand, evaluate does without."""

import numpy as np
import pytest

from firstlight.api import evaluate, train
from firstlight.cli import main
from firstlight.data.dataset import open_dataset
from firstlight.data.sources import load_data
from firstlight.delivery.check import check
from firstlight.errors import DataError


def one_class(tmp_path, pictures, kind):
    names = [f"cat/{number}.png" for number in range(4)]
    pictures(tmp_path, names)
    if kind == "folder":
        return tmp_path
    if kind == "list":
        (tmp_path / "list.csv").write_text("image,label\n" + "".join(f"{name},cat\n" for name in names))
        return tmp_path / "list.csv"
    return np.zeros((4, 8, 8), np.uint8), ["cat"] * 4 if kind == "words" else [3] * 4


@pytest.mark.parametrize("kind", ["folder", "list", "words", "numbers"])
def test_a_set_of_one_class_can_be_checked_but_not_trained_on(tmp_path, pictures, kind):
    samples = load_data(one_class(tmp_path, pictures, kind))
    (reason,) = check(samples).to_json()["training_refuses"]
    assert "has only one class" in reason and "a classifier needs at least two" in reason
    with pytest.raises(DataError) as refused:
        open_dataset(samples)
    assert str(refused.value) == reason


def test_a_set_of_one_class_can_be_scored(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = pictures(tmp_path / "both", [f"{word}/{n}.png" for word in ("cat", "dog") for n in range(9)])
    run = train(both, model="mlp", hidden=(8,), epochs=1)
    only = pictures(tmp_path / "only", ["cat/1.png", "cat/2.png"])
    assert evaluate(run.folder, only, split="all").evaluation.accuracy.n == 2


def test_check_says_what_training_will_refuse_about_quarantine_and_splits(tmp_path, pictures, capsys):
    pictures(tmp_path, ["a/1.png", "b/1.png"])
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    found = check(load_data(tmp_path)).to_json()["training_refuses"]
    assert len(found) == 3
    assert "1 of 3 pictures cannot be used" in found[0] and "set `allow_quarantine`" in found[0]
    assert "no picture is left for the validation split (a class needs 3 pictures" in found[1]
    assert "no picture is left for the test split" in found[2]
    assert main(["check", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("train will refuse this set: ") == 3 and "--allow-quarantine" in out


def test_a_class_with_no_usable_picture_is_named_beforehand(tmp_path, pictures):
    pictures(tmp_path, ["a/1.png"])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "broken.png").write_bytes(b"no picture")
    assert any(
        "no usable picture of b" in reason for reason in check(load_data(tmp_path)).to_json()["training_refuses"]
    )


def test_a_small_class_is_told_by_check_as_by_training(tmp_path, pictures):
    pictures(tmp_path, [*(f"{word}/{n}.png" for word in ("a", "b") for n in range(9)), "rare/1.png", "rare/2.png"])
    samples = load_data(tmp_path)
    told = check(samples).to_json()
    assert told["training_refuses"] == []
    assert told["training_notes"] == list(open_dataset(samples).notes)
    assert "no picture of rare is in the test split, so its accuracy is not known" in told["training_notes"]
    assert "to be in every split, a class needs 3 pictures, or groups of pictures" in told["training_notes"]


def test_a_set_that_training_takes_has_no_refusals(digits):
    images, labels = digits
    assert check(load_data((images, labels))).to_json()["training_refuses"] == []
