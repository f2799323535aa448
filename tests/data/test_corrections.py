"""Corrections of labels: what is applied, what is refused, and that nothing else changes."""

import numpy as np
import pytest

from firstlight.data.corrections import Correction, apply_corrections, read_corrections, write_corrections
from firstlight.data.dataset import open_dataset
from firstlight.data.recipe import DataRecipe
from firstlight.data.sources import load_data
from firstlight.errors import DataError, RecipeError


@pytest.fixture(scope="module")
def samples(digits):
    images, labels = digits
    return load_data((images[:200], labels[:200].astype(str)))


@pytest.fixture(scope="module")
def plain(samples):
    return open_dataset(samples)


def table(tmp_path, *rows, heading="image,label,action"):
    file = tmp_path / "corrections.csv"
    file.write_text("\n".join([heading, *rows]) + "\n")
    return str(file)


def test_they_change_labels_and_rows_but_neither_the_split_nor_the_test_part(samples, plain, tmp_path):
    first, second, third = plain.split.train[:3]
    tested = plain.split.test[0]
    other = samples.classes[(samples.labels[first] + 1) % 10]
    names = samples.names
    file = table(
        tmp_path,
        f"{names[first]},{other},relabel",
        f"{names[second]},,remove",
        f"{names[third]},,keep",
        f"{names[tested]},{other},relabel",
    )
    data = open_dataset(samples, DataRecipe(corrections=file))
    assert data.samples.classes[data.samples.labels[first]] == other
    assert np.flatnonzero(data.samples.labels != samples.labels).tolist() == [first]
    assert set(plain.split.train) - set(data.split.train) == {second}
    assert np.array_equal(data.split.valid, plain.split.valid)
    assert np.array_equal(data.split.test, plain.split.test)
    assert data.reviewed == {names[first], names[second], names[third]}
    assert "1 relabeled, 1 removed, 1 confirmed; 1 in the test split not applied" in data.notes[-1]
    asked = open_dataset(samples, DataRecipe(corrections=file, correct_test=True))
    assert asked.samples.classes[asked.samples.labels[tested]] == other


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["nowhere.png,1,keep"], "line 2: .* has no picture nowhere.png; write names as in suspects.csv"),
        (["{0},eleven,relabel"], "line 2: there is no class 'eleven'"),
        (["{0},1,delete"], "line 2: the action 'delete' is unknown; write keep, relabel or remove"),
        (["{0},1,keep", "{0},1,keep"], "line 3: .* was listed before, on line 2; keep one of the two lines"),
    ],
    ids=["no such picture", "no such class", "no such action", "twice"],
)
def test_what_does_not_fit_is_refused_in_one_line_that_says_where(rows, message, samples, plain, tmp_path):
    name = samples.names[plain.split.train[0]]
    file = table(tmp_path, *(row.format(name) for row in rows))
    with pytest.raises(DataError, match=message) as refused:
        open_dataset(samples, DataRecipe(corrections=file))
    assert "\n" not in str(refused.value)


def test_a_table_without_actions_and_one_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(DataError, match="has no column action; its first line must be image,label,action"):
        read_corrections(table(tmp_path, "a,b", heading="image,label"))
    for heading in ("foo,label,action", "image,foo,action"):
        with pytest.raises(DataError, match=r"has no column (image|label); its first line must be image,label,action"):
            read_corrections(table(tmp_path, "a,b,keep", heading=heading))
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        read_corrections(tmp_path / "none.csv")


def test_headings_may_be_capitalized_as_in_spreadsheets(tmp_path):
    (read,) = read_corrections(table(tmp_path, "a,b,Keep", heading="Image,Label,Action"))
    assert (read.image, read.label, read.action) == ("a", "b", "keep")


def test_they_may_not_leave_a_class_or_a_split_empty(samples, plain):
    rows = [row for row in plain.split.train if samples.labels[row] == 3]
    removed = [Correction(samples.names[row], "", "remove") for row in rows]
    with pytest.raises(DataError, match="leave no picture of 3 to train on; keep some"):
        apply_corrections(removed, samples, plain.split, to_test=False, source="c.csv")
    removed = [Correction(samples.names[row], "", "remove") for row in plain.split.valid]
    with pytest.raises(DataError, match="leave no picture to validate on; keep some"):
        apply_corrections(removed, samples, plain.split, to_test=False, source="c.csv")


def test_a_table_is_read_as_it_was_written(tmp_path):
    written = (Correction("a,b/=x.png", "cat", "relabel"), Correction("c.png", "", "remove"))
    write_corrections(tmp_path / "c.csv", written)
    read = read_corrections(tmp_path / "c.csv")
    assert [(each.image, each.label, each.action) for each in read] == [
        (each.image, each.label, each.action) for each in written
    ]


def test_the_test_part_is_corrected_only_with_corrections():
    with pytest.raises(RecipeError, match="corrections"):
        DataRecipe(correct_test=True)
