"""`check --labels` on sets that say nothing about their labels."""

import numpy as np
import pytest
from PIL import Image

from firstlight.api import check
from firstlight.cli import main


def folder(root, **values):
    """Pictures of one value each, class by class."""
    for name, shades in values.items():
        (root / name).mkdir(parents=True)
        for number, shade in enumerate(shades):
            Image.new("L", (16, 16), shade).save(root / name / f"{number}.png")
    return root


def test_copies_of_one_picture_cannot_be_judged_and_are_not_called_right(tmp_path, capsys):
    root = folder(tmp_path / "set", a=[77] * 10, b=[77] * 10)
    assert main(["check", str(root), "--labels"]) == 0
    said = capsys.readouterr()
    assert "the labels cannot be judged" in said.err and "too few pictures to judge the labels of a, b" in said.out
    assert "no label is probably wrong" not in said.out


def test_one_class_cannot_be_judged(tmp_path):
    found = check(folder(tmp_path / "set", a=range(0, 240, 20)), labels=True).to_json()
    assert (found["suspects"], found["too_small"]) == ([], ["a"])


def test_pictures_without_any_texture_are_judged_all_the_same(tmp_path):
    root = folder(tmp_path / "set", dark=range(0, 60, 5), light=range(180, 240, 5))
    assert check(root, labels=True).labels.suspects == ()


@pytest.mark.parametrize("count", [1, 12])
def test_pictures_of_which_none_can_be_used_cannot_be_judged(tmp_path, count):
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.png").write_bytes(b"none")
    found = check(tmp_path, labels=True).to_json()
    assert (found["suspects"], found["too_small"]) == ([], ["a", "b"])


def test_labels_of_noise_are_judged_without_a_word_of_warning(tmp_path):
    dice = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.fromarray(dice.integers(0, 256, (1, 1), np.uint8)).save(tmp_path / name / f"{number}.png")
    assert len(check(tmp_path, labels=True).labels.suspects) <= 24
