"""A contest's layout, `train/<class>/` beside `test/` without labels, trains; a set of only `test/` says why not."""

import pytest

from firstlight.data.dataset import open_dataset
from firstlight.data.samples import Split
from firstlight.data.sources import load_data
from firstlight.delivery.check import check
from firstlight.errors import DataError

TRAIN = [f"train/{word}/{number}.png" for word in ("cleavers", "maize") for number in range(3)]
NOTE = "left out: 2 pictures in test/, outside class folders; classify them with `firstlight predict`"


@pytest.mark.parametrize("inside", ["", "test/", "images/", "unknown/"])
def test_pictures_without_labels_are_left_out_with_a_note(tmp_path, named, inside):
    data = load_data(named(tmp_path, [*TRAIN, f"test/{inside}1.png", f"test/{inside}2.png"]))
    assert data.names == tuple(TRAIN) and data.splits.tolist() == [Split.TRAIN] * 6
    assert data.notes == (NOTE,)


def test_validation_and_test_then_come_out_of_train(tmp_path, pictures):
    many = [f"train/{word}/{number}.png" for word in ("cleavers", "maize") for number in range(20)]
    data = open_dataset(load_data(pictures(tmp_path, [*many, "test/1.png", "test/2.png"])))
    assert min(len(data.split.rows(split)) for split in ("valid", "test")) >= 2
    assert len(data.split.rows("all")) == 40


def test_a_set_of_only_test_can_be_checked_and_says_why_it_cannot_be_trained_on(tmp_path, pictures):
    root = pictures(tmp_path, [name.replace("train/", "test/") for name in TRAIN])
    samples = load_data(root)
    assert samples.splits.tolist() == [Split.TEST] * 6
    reason = f"every picture is in test/; put some in train/, or name {root}/test"
    assert check(samples).to_json()["training_refuses"] == [f"{root}: {reason}"]
    with pytest.raises(DataError) as refused:
        open_dataset(samples)
    assert reason in str(refused.value)
    assert len(load_data(root / "test")) == 6


def test_a_test_class_that_train_lacks_is_refused_but_not_the_other_way_round(tmp_path, named, pictures):
    with pytest.raises(DataError, match="only the test split has fox, and only the train split has cleavers; a model"):
        load_data(named(tmp_path / "a", [*TRAIN, "test/maize/1.png", "test/fox/1.png"]))
    root = pictures(tmp_path / "b", [*TRAIN, *[f"valid/{name[6:]}" for name in TRAIN], "test/maize/1.png"])
    (root / "test" / "cleavers").mkdir()
    data = open_dataset(load_data(root))
    assert "no picture of cleavers is in the test split, so its accuracy is not known" in data.notes


def test_an_empty_split_folder_is_noted_but_an_empty_class_to_train_on_is_refused(tmp_path, named):
    root = named(tmp_path, TRAIN)
    (root / "test" / "maize").mkdir(parents=True)
    assert load_data(root).notes == ("test/ holds no pictures, so a test split is taken from train",)
    (root / "train" / "fox").mkdir()
    with pytest.raises(DataError, match="class folders without pictures: train/fox"):
        load_data(root)


def test_a_list_beside_pictures_without_class_folders_is_named(tmp_path, named):
    root = named(tmp_path / "contest", ["train/00a1.png", "train/00b2.png", "test/00c3.png", "train.csv"])
    with pytest.raises(DataError, match=r"hold 3 pictures .*; if train\.csv lists their labels, use that file"):
        load_data(root)
    (root / "sample_submission.csv").touch()
    with pytest.raises(DataError, match=r"if one of sample_submission\.csv, train\.csv lists their labels"):
        load_data(root)
