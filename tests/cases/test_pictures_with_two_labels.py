"""A picture that stands in two classes is told first, with the names; near copies are told apart."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from firstlight.api import train
from firstlight.cli import main
from firstlight.data.sources import load_data
from firstlight.delivery.check import check


@pytest.fixture
def root(tmp_path):
    """Smooth pictures of two classes: one cat is also a dog, and another is nearly so."""
    dice = np.random.default_rng(3)
    for word in ("cat", "dog"):
        (tmp_path / "set" / word).mkdir(parents=True)
        for number in range(9):
            coarse = Image.fromarray(dice.integers(0, 256, (6, 6, 3), np.uint8))
            coarse.resize((48, 48), Image.Resampling.BICUBIC).save(tmp_path / "set" / word / f"{number}.png")
    shutil.copy(tmp_path / "set/cat/0.png", tmp_path / "set/dog/zero.png")
    Image.open(tmp_path / "set/cat/1.png").save(tmp_path / "set/dog/one.jpg", quality=90)
    shutil.copy(tmp_path / "set/cat/2.png", tmp_path / "set/cat/two.png")
    return tmp_path / "set"


EXACT = [[{"image": "cat/0.png", "label": "cat"}, {"image": "dog/zero.png", "label": "dog"}]]
NEAR = [[{"image": "cat/1.png", "label": "cat"}, {"image": "dog/one.jpg", "label": "dog"}]]


def test_check_tells_them_first_and_gives_them_as_data(root, capsys):
    found = check(load_data(root))
    assert found.to_json()["two_labels"] == EXACT and found.to_json()["near_two_labels"] == NEAR
    assert main(["check", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "wrong labels: 1 picture has two labels; delete the wrong copies:",
        "  cat/0.png (cat) = dog/zero.png (dog)",
    ]
    assert lines[2].startswith("possibly wrong labels: 1 group of near copies has two labels")


def test_train_tells_them_first_and_the_record_keeps_them(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(root, model="mlp", hidden=(8,), epochs=1)
    record = json.loads((run.folder / "evaluation.json").read_text())
    assert record["two_labels"] == EXACT and record["near_two_labels"] == NEAR
    assert run.data.conflicts.exact == [[run.data.samples.names.index(copy["image"]) for copy in EXACT[0]]]
    assert main(["train", str(root), "--model", "mlp", "--hidden", "8", "--epochs", "1"]) == 0
    assert capsys.readouterr().out.startswith("wrong labels: 1 picture has two labels")


def test_copies_with_one_label_are_no_error_of_labels(root):
    (root / "dog" / "zero.png").unlink()
    (root / "dog" / "one.jpg").unlink()
    found = check(load_data(root)).to_json()
    assert found["duplicates"] == [["cat/2.png", "cat/two.png"]]
    assert found["two_labels"] == found["near_two_labels"] == []
