"""Classes in file names are read by `label_from`, and suggested where names look so."""

import shutil

import numpy as np
import pytest

from firstlight.api import check, evaluate, train
from firstlight.data.samples import Split
from firstlight.data.sources import load_data
from firstlight.data.sources.name_habits import suggest_label_from
from firstlight.errors import DataError, RecipeError
from firstlight.progress import announcements_to

FLAT = [f"{word}.{number:03d}.jpg" for word in ("cat", "dog") for number in range(6)]


@pytest.mark.parametrize("packed", ["", "zip", "tar", "gztar"])
def test_the_first_group_is_the_class_in_folders_and_archives(tmp_path, named, packed):
    path = named(tmp_path / "set", FLAT)
    if packed:
        path = shutil.make_archive(str(tmp_path / "packed"), packed, path)
    data = load_data(path, label_from="^([a-z]+)")
    assert data.classes == ("cat", "dog") and data.names == tuple(FLAT) and data.splits is None
    assert data.labels.tolist() == [0] * 6 + [1] * 6
    assert data.images.read(7) == b"not looked at"


@pytest.mark.parametrize(
    ("names", "pattern", "example"),
    [
        (FLAT, "^([a-z]+)", "cat.000.jpg"),
        ([f"{word}_{number}.png" for word in ("dog", "fox") for number in range(9)], "^([a-z]+)", "dog_0.png"),
        ([f"{word}{number}.png" for word in ("Dog", "fox") for number in range(9)], "^([A-Za-z]+)", "Dog0.png"),
        (
            [f"{word}_{n}.jpg" for word in ("great_dane", "great_pyrenees") for n in range(9)],
            r"^(.+)[._ -]\d+",
            "great_dane_0.jpg",
        ),
        ([f"{n:03d}_{word}.png" for n in range(9) for word in ("cat", "dog")], r"([A-Za-z]+)\.\w+$", "000_cat.png"),
        ([f"{n % 3}_{n:05d}.png" for n in range(12)], "^([^._ -]+)[._ -]", "0_00000.png"),
        ([f"n0{word}_{n}.JPEG" for word in (2085, 2086) for n in range(9)], r"^(.+)[._ -]\d+", "n02085_0.JPEG"),
    ],
)
def test_a_folder_of_such_names_is_answered_with_the_expression(tmp_path, named, names, pattern, example):
    root = named(tmp_path, names)
    with pytest.raises(DataError) as refused:
        load_data(root)
    assert f"no class folders; names look like {example}: add `label_from` '{pattern}', or put" in str(refused.value)
    assert len(load_data(root, label_from=pattern).classes) in (2, 3), "and the expression works"


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_{number:04d}.jpg" for number in range(20)],
        [f"{word}_{number:04d}.jpg" for number in range(20) for word in ("IMG", "DSC")],
        [f"{number}.png" for number in range(20)],
        [f"{number:032x}.png" for number in np.random.default_rng(0).integers(1, 2**60, 20)],
        ["cat.jpg", "dog.jpg"],
        [],
    ],
)
def test_names_that_hold_no_class_are_not_suggested(names):
    assert suggest_label_from(names) is None


def test_one_class_folder_full_of_such_names_is_noted(tmp_path, named):
    data = load_data(named(tmp_path, [f"images/{name}" for name in FLAT]))
    assert data.classes == ("images",)
    assert any("only one class folder, images; names look like cat.000.jpg: add `label_from`" in n for n in data.notes)


def test_split_folders_stay_splits_and_names_without_a_class_are_left_out(tmp_path, named):
    names = [f"train/{name}" for name in FLAT] + [f"test/{name}" for name in FLAT[:1] + FLAT[6:7]] + ["test/17.jpg"]
    data = load_data(named(tmp_path, names), label_from="^([a-z]+)")
    assert np.bincount(data.splits).tolist() == [12, 0, 2] and data.classes == ("cat", "dog")
    assert data.notes == ("left out: 1 picture whose name gives no class, such as test/17.jpg",)
    unlabeled = load_data(
        named(tmp_path / "b", [f"train/{name}" for name in FLAT] + ["test/1.jpg"]), label_from="^([a-z]+)"
    )
    assert set(unlabeled.splits.tolist()) == {Split.TRAIN}


def test_flat_split_folders_are_answered_by_the_names_in_train(tmp_path, named):
    root = named(tmp_path, [*(f"train/{name}" for name in FLAT), *(f"test1/{number}.jpg" for number in range(20))])
    with pytest.raises(DataError, match=r"names look like cat.000.jpg: add `label_from` '\^\(\[a-z\]\+\)'"):
        load_data(root)
    assert load_data(root, label_from="^([a-z]+)").classes == ("cat", "dog")


def test_an_expression_with_a_slash_sees_the_whole_path(tmp_path, named):
    root = named(tmp_path, ["2024/cat/1.jpg", "2024/dog/1.jpg", "2025/cat/1.jpg", "2025/dog/1.jpg"])
    assert load_data(root, label_from=r"^[^/]+/([^/]+)/").classes == ("cat", "dog")
    assert load_data(root, label_from=r"^\d+(?=/)").classes == ("2024", "2025"), (
        "without a group all of it is the class"
    )


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "not a regular expression"),
        ("^(x+)", "no class was found in the names of the pictures in .*, such as cat.000.jpg"),
    ],
)
def test_an_expression_of_no_use_is_refused_with_its_name_and_value(tmp_path, named, pattern, words):
    with pytest.raises(RecipeError, match=words) as refused:
        load_data(named(tmp_path, FLAT), label_from=pattern)
    assert (refused.value.field, refused.value.value) == ("label_from", pattern)


def test_where_it_means_nothing_that_is_said(digits):
    images, labels = digits
    for source in ("digits", (images[:20], labels[:20])):
        assert any("`label_from` is for folders and archives" in n for n in load_data(source, label_from="x").notes)
    assert load_data("digits").notes == ()


def test_a_run_keeps_the_expression_and_evaluation_uses_it(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "set", [f"{word}.{number}.png" for word in ("cat", "dog") for number in range(9)])
    run = train("set", model="mlp", hidden=(8,), epochs=1, label_from="^([a-z]+)")
    assert run.model.classes == ("cat", "dog")
    assert 'label_from = "^([a-z]+)"' in (run.folder / "recipe.toml").read_text()
    assert evaluate(run.folder, "set", split="valid").evaluation.accuracy.n == len(run.data.split.valid)
    pictures(tmp_path / "others", [f"{word}/{number}.png" for word in ("cat", "dog") for number in range(3)])
    assert evaluate(run.folder, "others", split="all", label_from="^([^/]+)/").evaluation.accuracy.n == 6
    assert check("set", label_from="^([a-z]+)").to_json()["classes"] == {"cat": 9, "dog": 9}
    with pytest.raises(RecipeError, match="there is no choice label_form; did you mean label_from"):
        check("set", label_form="^([a-z]+)")


def test_evaluation_says_where_its_classes_come_from_and_what_it_left_out(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "set", [f"{word}.{number}.png" for word in ("cat", "dog") for number in range(9)])
    run = train("set", model="mlp", hidden=(8,), epochs=1, label_from="^([a-z]+)")
    pictures(tmp_path / "set", ["7.png"])
    said = []
    with announcements_to(said.append):
        evaluate(run.folder, "set", split="valid")
    assert said == [
        "classes are taken from the file names, as in the run: `label_from` '^([a-z]+)'",
        "note: left out: 1 picture whose name gives no class, such as 7.png",
    ]
