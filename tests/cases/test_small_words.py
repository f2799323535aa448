"""Small words: names that end in a space, animations, names in two spellings, pictures of two pixels."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from firstlight.api import train
from firstlight.cli import main
from firstlight.data.sources import load_data
from firstlight.delivery.check import check
from firstlight.errors import DataError, RecipeError


def test_names_that_end_in_a_space_are_quoted(tmp_path, named):
    names = [f"train/{word}/1.png" for word in ("cat", "dog ")] + [f"test/{word}/1.png" for word in ("cat", "dog")]
    with pytest.raises(DataError, match='only the test split has dog, and only the train split has "dog "'):
        load_data(named(tmp_path, names))


@pytest.mark.parametrize("kind", ["folders", "list"])
def test_classes_that_differ_only_in_case_or_spaces_are_noted_once(tmp_path, named, kind):
    words = ["Cat", "cat", "Dog", "dog", "dog ", "fox"] if kind == "folders" else ["Cat", "cat", "Dog", "dog", "fox"]
    root = named(tmp_path, [f"{word}/1.png" for word in words])
    if kind == "list":
        rows = "".join(f"{word}/1.png,{word}\n" for word in words)
        (root / "list.csv").write_text("image,label\n" + rows)
    data = load_data(root if kind == "folders" else root / "list.csv")
    dogs = 'Dog and dog and "dog "' if kind == "folders" else "Dog and dog"
    assert [note for note in data.notes if "only in case" in note] == [
        "classes whose names differ only in case or spaces: Cat and cat, "
        f"{dogs.replace(' and dog and', ', dog and')}; give them one name if they are one"
    ]


def test_animations_of_all_lengths_are_one_note(tmp_path, capsys):
    dice = np.random.default_rng(0)
    for word in ("a", "b"):
        (tmp_path / word).mkdir()
        for number in range(13):
            frames = [Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(2 + number)]
            frames[0].save(tmp_path / word / f"{number}.gif", save_all=True, append_images=frames[1:])
    assert [*check(load_data(tmp_path)).to_json()["notes"]] == ["first of several frames"]
    assert main(["check", str(tmp_path)]) == 0
    assert "first of several frames: 26, such as a/0.gif" in capsys.readouterr().out


def test_pictures_smaller_than_a_default_shift_are_trained_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dice = np.random.default_rng(0)
    pair = dice.integers(0, 256, (40, 2, 2), np.uint8), [0, 1] * 20
    run = train(pair, model="cnn", epochs=1)
    assert run.recipe.augmentation.shift == 1
    with pytest.raises(RecipeError, match="choose less than the side of the pictures, 2 x 2") as refused:
        train(pair, model="cnn", epochs=1, shift=2)
    assert refused.value.field == "shift", "what a person chose is refused, not changed"


@pytest.mark.parametrize(("encoding", "classes"), [("utf-8", ("café", "thé")), ("cp437", ("café", "thé"))])
def test_names_in_a_zip_that_are_not_marked_as_utf8_are_noted(tmp_path, encoding, classes):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for word in ("caf?", "th?"):
            archive.writestr(f"{word}/1.png".replace("?", "#" * len("é".encode(encoding))), b"x")
    marked = path.read_bytes().replace(b"#" * len("é".encode(encoding)), "é".encode(encoding))
    path.write_bytes(marked)
    data = load_data(path)
    assert data.classes == classes
    assert data.notes == (
        f"names that are not marked as UTF-8, read as {encoding}: 2, such as café/1.png; if that looks wrong, "
        "pack the archive again",
    )


def test_marked_names_are_not_noted(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for word in ("café", "thé"):
            archive.writestr(f"{word}/1.png", b"x")
    assert load_data(tmp_path / "set.zip").notes == ()


def test_blank_lines_and_lines_of_spaces_are_no_rows(tmp_path, pictures):
    pictures(tmp_path, ["1.png", "2.png"])
    (tmp_path / "list.csv").write_text("image,label\n1.png,a\n\n2.png,b\n \n,\n")
    assert len(load_data(tmp_path / "list.csv")) == 2
    (tmp_path / "short.csv").write_text("image,label\n1.png\n")
    with pytest.raises(DataError, match="line 2: 1 cell, but the first line has 2 columns"):
        load_data(tmp_path / "short.csv")


def test_check_counts_the_pictures_of_each_split(tmp_path, pictures, capsys):
    pictures(tmp_path, [f"{split}/{word}/{n}.png" for split in ("train", "test") for word in "ab" for n in range(2)])
    assert main(["check", str(tmp_path), "--quiet"]) == 0
    assert "\n  splits   train 4, test 4\n" in capsys.readouterr().out
