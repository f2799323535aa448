"""Columns are found by the names that people use, and cells become class names."""

import datetime

import numpy as np
import pytest

from firstlight.data.sources.columns import find_columns, label_word
from firstlight.errors import DataError


@pytest.mark.parametrize(
    ("headings", "image", "label"),
    [
        ("image,label", "image", "label"),
        ("Path,Sex,Target", "Path", "Target"),
        ("id,breed,category", "id", "category"),
        ("image_id,Class", "image_id", "Class"),
        ("Image Index,Class Name,Follow-up", "Image Index", "Class Name"),
        ("Filename,Width,Height,Roi.X1,ClassId", "Filename", "ClassId"),
        ("target,FILE_NAME", "FILE_NAME", "target"),
        ("id,file,filepath,label_id,label_name", "filepath", "label_name"),
    ],
)
def test_columns_go_by_the_names_that_people_use(headings, image, label):
    found = find_columns(headings.split(","), "a.csv")
    assert (found.image, found.label, found.split, found.group) == (image, label, None, None)


def test_a_named_column_wins_and_may_differ_in_case():
    headings = ["Image", "label", "breed", "Split", "group"]
    found = find_columns(headings, "a.csv", label_column="Breed")
    assert (found.image, found.label, found.split, found.group, found.notes) == ("Image", "breed", "Split", "group", ())
    with pytest.raises(DataError, match=r"no such column \(found: Image, label") as refusal:
        find_columns(headings, "a.csv", image_column="photos")
    assert (refusal.value.field, refusal.value.value) == ("image_column", "photos")


def test_two_columns_that_may_be_the_labels_get_a_note():
    assert find_columns(["image", "class", "label"], "a.csv").notes == (
        "the column label was used, not class; `label_column` chooses another",
    )
    assert find_columns(["image", "path", "label"], "a.csv").notes == ()


@pytest.mark.parametrize("heading", ["set", "Data Set", "is_train", "Usage"])
def test_a_column_that_may_be_the_split_is_not_passed_over_in_silence(heading):
    found = find_columns(["image", "label", heading], "a.csv")
    assert found.split is None
    assert found.notes[0].startswith(f"the column {heading} was not used; if it says which pictures are for training")
    assert find_columns(["image", "label", heading, "split"], "a.csv").notes == ()
    assert find_columns(["image", "label", heading], "a.csv", label_column=heading).notes == ()


@pytest.mark.parametrize("heading", ["patient", "Subject ID", "lesion_id"])
def test_a_column_that_may_be_the_group_is_not_passed_over_in_silence(heading):
    found = find_columns(["image", "label", heading], "a.csv")
    assert found.group is None
    assert found.notes[0].startswith(f"the column {heading} was not used; call it group")
    assert find_columns(["image", "label", heading, "group"], "a.csv").notes == ()


def test_missing_and_repeated_columns_are_named_in_a_short_line():
    many = [f"column {number}" for number in range(500)]
    with pytest.raises(DataError, match=r"no column of picture files .* and 492 more\).*`image_column`") as refusal:
        find_columns(many, "a.csv")
    assert len(str(refusal.value)) < 250
    with pytest.raises(DataError, match="no column of labels .*`label_column`"):
        find_columns(["image", "colour"], "a.csv")
    with pytest.raises(DataError, match="a.csv has the column image 2 times"):
        find_columns(["image", "label", "image"], "a.csv")


@pytest.mark.parametrize(
    "headings",
    [
        ["label", *(f"pixel{number}" for number in range(784))],
        ["label", *(f"{row}x{column}" for row in range(28) for column in range(28))],
        ["emotion", "pixels", "Usage"],
    ],
)
def test_pixels_in_columns_are_sent_to_python(headings):
    with pytest.raises(DataError, match=r"holds pixels, not paths .*\(images, labels\)") as refusal:
        find_columns(headings, "train.csv")
    assert len(str(refusal.value)) < 300


def test_cells_become_class_names():
    empty = [None, float("nan"), np.float32("nan"), np.datetime64("NaT"), "", "  "]
    assert [label_word(cell) for cell in empty] == [""] * len(empty)
    whole = [3, 3.0, np.int64(3), np.float32(3), "3"]
    assert [label_word(cell) for cell in whole] == ["3"] * len(whole)
    kept = [0.5, "cat ", "2.0", float("inf"), True, datetime.date(2026, 1, 2), -1]
    assert [label_word(cell) for cell in kept] == ["0.5", "cat", "2.0", "inf", "True", "2026-01-02", "-1"]
