"""Split folders are known by the names that well-known sets give them, in folders and in archives."""

import shutil

import pytest

from firstlight.data.samples import Split
from firstlight.data.sources import load_data
from firstlight.data.sources.split_words import split_of
from firstlight.errors import DataError

TRAIN, VALID, TEST = Split


def set_of(*folders, words=("cat", "dog"), each=3):
    return [f"{folder}/{word}/{number}.png" for folder in folders for word in words for number in range(each)]


@pytest.mark.parametrize(
    "folders",
    [
        {"Training": TRAIN, "Testing": TEST},
        {"training_set": TRAIN, "test_set": TEST},
        {"seg_train/seg_train": TRAIN, "seg_test/seg_test": TEST},
        {"seg_train": TRAIN, "seg_test": TEST},
        {"TRAIN": TRAIN, "VAL": VALID, "TEST": TEST},
        {"Train": TRAIN, "Val": VALID},
        {"train2017": TRAIN, "val2017": VALID},
        {"pets-train": TRAIN, "pets-valid": VALID, "pets-test": TEST},
        {"train_images": TRAIN, "validation_images": VALID, "test_images": TEST},
        {"train": TRAIN, "dev": VALID, "eval": TEST},
        {"training": TRAIN, "holdout": TEST},
        {"TrainingData": TRAIN, "TestData": TEST},
        {"train/train": TRAIN, "test": TEST},
        {"trainval": TRAIN, "test": TEST},
        {"training_set": TRAIN},
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_folders_that_are_named_as_splits_are_splits(tmp_path, named, folders, packed):
    path = named(tmp_path / "set", set_of(*folders))
    if packed:
        path = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "set")
    data = load_data(path)
    assert data.classes == ("cat", "dog")
    assert data.splits.tolist() == [split for _, split in sorted(folders.items()) for _ in range(6)]


@pytest.mark.parametrize("name", ["cat", "latest", "contest", "protest", "trains", "steam", "evaluate", "valley", ""])
def test_other_names_are_no_splits(name):
    assert split_of(name) is None


def test_classes_that_sound_like_splits_stay_classes(tmp_path, named):
    flat = load_data(named(tmp_path / "flat", ["train_station/1.png", "crash_test/1.png", "bus/1.png"]))
    assert flat.classes == ("bus", "crash_test", "train_station") and flat.splits is None
    deep = load_data(named(tmp_path / "deep", ["train_station/day/1.png", "test_tube/lab/1.png", "bus/x/1.png"]))
    assert deep.classes == ("bus", "test_tube", "train_station")
    apart = load_data(named(tmp_path / "apart", ["train_station/day/1.png", "test_tube/lab/1.png"]))
    assert apart.classes == ("test_tube", "train_station"), "their folders differ, so these are no classes"


def test_first_folders_with_the_same_folders_in_them_are_asked_about(tmp_path, named):
    root = named(tmp_path, set_of("fold1", "fold2", words=("cat", "dog", "fox")))
    with pytest.raises(DataError) as refused:
        load_data(root)
    assert "fold1 and fold2 hold the same folders (cat, dog, fox); if they are splits, " in str(refused.value)
    assert "rename them train and test; if they are classes, set `label_from` to '^([^/]+)/'" in str(refused.value)
    data = load_data(root, label_from="^([^/]+)/")
    assert data.classes == ("fold1", "fold2") and len(data) == 18 and data.splits is None
    assert load_data(root, label_from="^[^/]+/([^/]+)/").classes == ("cat", "dog", "fox")


def test_a_split_folder_beside_classes_can_be_called_a_class(tmp_path, named):
    root = named(tmp_path, [*set_of("train"), "bus/1.png"])
    with pytest.raises(DataError, match="split folder train beside bus"):
        load_data(root)
    assert load_data(root, label_from="^([^/]+)/").classes == ("bus", "train")


def test_splits_that_hold_no_class_folders_are_refused(tmp_path, named):
    with pytest.raises(DataError, match="testA/, trainA/ and trainB/ hold 3 pictures but no class folders; put each"):
        load_data(named(tmp_path, ["trainA/1.png", "trainB/1.png", "testA/1.png"]))


def test_a_set_whose_classes_lie_one_folder_deeper_is_named(tmp_path, named):
    root = named(tmp_path, ["images/cat/1.png", "images/dog/1.png", "annotations/1.xml"])
    with pytest.raises(DataError, match=f"only one class, images; .* use {root}/images"):
        load_data(root)


def test_two_folders_of_one_split_are_refused(tmp_path, named):
    with pytest.raises(DataError, match="train and training are the same split; merge them"):
        load_data(named(tmp_path, set_of("train", "training", "test")))


def test_a_flat_test_folder_beside_class_folders_is_noted(tmp_path, named):
    data = load_data(named(tmp_path, ["OK/1.png", "NG/1.png", "test/1.png"]))
    assert data.classes == ("NG", "OK", "test")
    assert any("the folder test is read as a class, like NG, OK" in note for note in data.notes)


def test_folders_for_prediction_beside_splits_are_left_out(tmp_path, named):
    data = load_data(named(tmp_path, [*set_of("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/1.jpg"]))
    assert data.classes == ("cat", "dog") and len(data) == 12
    assert any("1 picture in seg_pred/" in note for note in data.notes)


def test_splits_inside_each_class_folder_are_noted(tmp_path, named):
    data = load_data(named(tmp_path, [f"{word}/{split}/1.png" for word in ("a", "b") for split in ("train", "test")]))
    assert data.classes == ("a", "b") and data.splits is None
    assert any("every class folder holds the folders test and train, which are not used" in n for n in data.notes)
