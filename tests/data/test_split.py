"""The split: shares, whole groups, stability, official splits, and a manifest that survives any file name."""

import os
import string
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from firstlight.data.groups import groups_from_names
from firstlight.data.image_sources import ArrayImages
from firstlight.data.plan import require_split
from firstlight.data.samples import Samples, Split
from firstlight.data.split import (
    SplitRows,
    assign,
    complete_official,
    find_leaks,
    follow,
    parse_fractions,
    read_split,
    split,
    training_copies,
    write_split,
)
from firstlight.errors import DataError, RecipeError

FRACTIONS = (0.7, 0.15, 0.15)
TRAIN, VALID, TEST = Split


def set_of(names, labels, classes):
    """Return a set of black images."""
    images = ArrayImages(np.zeros((len(names), 1, 1, 1), np.uint8))
    return Samples("set", "set", images, tuple(names), labels, classes, None, None, ())


def names_of(count):
    return [f"{row:05d}.png" for row in range(count)]


def members(groups):
    rows = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        rows[group].append(row)
    return list(rows.values())


@st.composite
def grouped_sets(draw):
    """Labels and groups: groups of up to nine rows, each of one class, as copies of a picture nearly always are."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=3, max_size=40))
    of_group = draw(st.lists(st.integers(0, 2), min_size=len(sizes), max_size=len(sizes)))
    return np.repeat(np.array(of_group, np.int64), sizes), np.repeat(np.arange(len(sizes)), sizes)


@given(grouped_sets(), st.integers(0, 3))
def test_groups_never_straddle_and_parts_are_within_a_group_of_their_quota(drawn, seed):
    labels, groups = drawn
    parts = assign(labels, groups, names_of(len(labels)), FRACTIONS, seed)
    assert not find_leaks(groups, parts, np.arange(len(labels)))
    for label in set(labels.tolist()):
        sizes = [len(rows) for rows in members(groups[labels == label])]
        held = {part: int((parts[labels == label] == part).sum()) for part in Split}
        if len(sizes) < 3:
            assert held[VALID] == held[TEST] == 0
            continue
        assert min(held.values()) > 0, "a class of three groups stands in every part"
        for part in (VALID, TEST):
            assert held[part] - FRACTIONS[part] * sum(sizes) <= max(sizes) + 0.5
        assert 3 * held[TRAIN] >= sum(sizes) - 3, "train keeps a third, but for rounding"


def test_shares_of_grouped_images_are_right_on_average():
    sizes = np.random.default_rng(0).integers(1, 10, 40)
    groups = np.repeat(np.arange(40), sizes)
    labels, names = np.zeros(len(groups), np.int64), names_of(len(groups))
    held = [np.bincount(assign(labels, groups, names, FRACTIONS, seed), minlength=3) for seed in range(100)]
    assert np.abs(np.mean(held, axis=0) / len(groups) - FRACTIONS).max() < 0.005


def test_a_group_that_outweighs_the_rest_of_its_class_is_never_held_out():
    groups = np.repeat(np.arange(4), [1, 2, 100, 3])
    for seed in range(50):
        parts = assign(np.zeros(106, np.int64), groups, names_of(106), FRACTIONS, seed)
        assert set(parts[groups == 2]) == {TRAIN}
        assert set(parts) == {TRAIN, VALID, TEST}


def test_shares_hold_in_every_class_of_the_real_digits(digits):
    labels = digits[1]
    parts = assign(labels, np.arange(len(labels)), names_of(len(labels)), FRACTIONS, seed=0)
    for label in range(10):
        counts = np.bincount(parts[labels == label], minlength=3)
        assert np.abs(counts - np.array(FRACTIONS) * counts.sum()).max() <= 1


def test_classes_are_as_even_as_scikit_learns_grouped_folds_make_them(digits):
    labels = digits[1]
    groups = np.arange(len(labels)) // 2  # neighbors, mostly of two classes
    groups = groups * 10 + labels
    folds = StratifiedGroupKFold(7, shuffle=True, random_state=0).split(labels, labels, groups)
    theirs = [np.bincount(labels[held], minlength=10) / np.bincount(labels) for _, held in folds]
    parts = assign(labels, groups, names_of(len(labels)), (5 / 7, 1 / 7, 1 / 7), seed=0)
    ours = [np.bincount(labels[parts == part], minlength=10) / np.bincount(labels) for part in (VALID, TEST)]
    assert np.abs(np.array(ours) - 1 / 7).max() <= np.abs(np.array(theirs) - 1 / 7).max() + 0.01


def test_the_split_depends_on_the_seed_and_on_names_but_not_on_their_order():
    labels = np.repeat(np.arange(4), 50)
    names = names_of(200)
    parts = assign(labels, np.arange(200), names, FRACTIONS, seed=1)
    assert np.array_equal(parts, assign(labels, np.arange(200), names, FRACTIONS, seed=1))
    other = assign(labels, np.arange(200), names, FRACTIONS, seed=2)
    assert 0.3 < (parts != other).mean() < 0.6  # two independent splits differ in 1 - (0.7² + 2 · 0.15²) = 46.5%
    shuffled = np.random.default_rng(0).permutation(200)
    moved = assign(labels[shuffled], np.arange(200), [names[row] for row in shuffled], FRACTIONS, seed=1)
    assert np.array_equal(moved, parts[shuffled])


@pytest.mark.parametrize("seed", range(5))
def test_ten_percent_more_images_move_few_and_none_between_train_and_test(seed, digits, tmp_path):
    labels = digits[1]
    rng = np.random.default_rng(seed)
    names = [f"{number:06d}.png" for number in rng.choice(10**6, len(labels), replace=False)]
    old = len(labels) * 10 // 11
    before = assign(labels[:old], np.arange(old), names[:old], FRACTIONS, seed)
    after = assign(labels, np.arange(len(labels)), names, FRACTIONS, seed)
    moved = before != after[:old]
    assert moved.mean() < 0.05
    assert not (moved & (before != VALID) & (after[:old] != VALID)).any()

    classes = tuple(string.digits)
    write_split(tmp_path / "split.csv", set_of(names, labels, classes), SplitRows.of(before, np.arange(old)))
    followed = follow(read_split(tmp_path / "split.csv"), np.arange(len(labels)), names, after)
    assert np.array_equal(followed[:old], before)
    assert np.array_equal(followed[old:], after[old:])


def test_a_new_copy_goes_where_its_original_is():
    names = ["a", "b", "c", "copy of a", "copy of c", "new"]
    groups = np.array([0, 1, 2, 0, 2, 5])
    otherwise = np.array([TRAIN, TRAIN, TRAIN, VALID, VALID, VALID], np.int8)
    followed = follow({"a": TEST, "b": VALID, "c": TRAIN, "gone": TEST}, groups, names, otherwise)
    assert followed.tolist() == [TEST, VALID, TRAIN, TEST, TRAIN, VALID]


@pytest.mark.parametrize("lacking", [{VALID}, {TEST}, {VALID, TEST}, set()])
def test_official_parts_are_kept_bit_for_bit_and_what_lacks_comes_out_of_train(lacking, digits):
    labels = digits[1]
    official = np.random.default_rng(0).choice(list(Split), len(labels)).astype(np.int8)
    official[np.isin(official, list(lacking))] = TRAIN
    kept = official.copy()
    parts = complete_official(official, labels, np.arange(len(labels)), names_of(len(labels)), seed=0)
    assert np.array_equal(official, kept), "the caller's array was changed"
    for part in {VALID, TEST} - lacking:
        assert np.array_equal(parts == part, official == part)
    left = labels[official == TRAIN]
    for part in sorted(lacking):
        taken = labels[parts == part]
        assert np.abs(np.bincount(taken) - 0.1 * np.bincount(left)).max() <= 1
        left = labels[(official == TRAIN) & (parts != part)]


def test_a_small_class_gives_one_of_three_images_for_validation():
    official = np.array([TRAIN] * 6 + [TEST], np.int8)
    parts = complete_official(official, np.array([0, 0, 0, 1, 1, 1, 0]), np.arange(7), names_of(7), seed=0)
    assert np.bincount(parts).tolist() == [4, 2, 1]


def test_leaks_are_the_groups_on_two_sides_and_taking_training_copies_out_ends_them():
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 4])
    parts = np.array([TRAIN, TEST, TRAIN, TRAIN, VALID, TEST, TRAIN, VALID, VALID, TEST], np.int8)
    everything = np.arange(10)
    leaks = find_leaks(groups, parts, everything)
    assert leaks == [[0, 1], [4, 5], [6, 7, 8]]
    dropped = training_copies(leaks, parts)
    assert dropped == [0, 4, 6]
    assert find_leaks(groups, parts, np.setdiff1d(everything, dropped)) == []
    assert find_leaks(groups, parts, np.array([0, 2, 4])) == [], "rows that are not used cannot leak"


ODD_NAMES = ["a,b.png", 'the "cat".png', "two\nlines", "mac\rline", "dos\r\nline", " blank ", "日本/猫.png",
             "=1+1", "#", os.fsdecode(b"caf\xe9.png"), "'", "\ufeffmark"]  # fmt: skip


def test_a_manifest_gives_every_odd_name_back(tmp_path):
    count = len(ODD_NAMES)
    parts = (np.arange(count) % 3).astype(np.int8)
    used = np.delete(np.arange(count), 4)
    split = SplitRows.of(parts, used)
    write_split(tmp_path / "split.csv", set_of(ODD_NAMES, parts.astype(np.int64), ("x,y", 'q"', "z")), split)
    expected = {ODD_NAMES[row]: int(parts[row]) for row in used}
    assert read_split(tmp_path / "split.csv") == expected
    first = (tmp_path / "split.csv").read_bytes()
    write_split(tmp_path / "split.csv", set_of(ODD_NAMES, parts.astype(np.int64), ("x,y", 'q"', "z")), split)
    assert (tmp_path / "split.csv").read_bytes() == first
    assert first.startswith(b"image,label,split\n")


@pytest.mark.parametrize(
    "text", ["image,label\na,b\n", "", "image,label,split\na,b,holdout\n", "image,label,split\na\n"]
)
def test_a_table_that_is_no_manifest_is_refused(text, tmp_path):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=r"split\.csv: not a split table; it needs the columns image, label, split"):
        read_split(tmp_path / "split.csv")


def test_a_manifest_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read \(No such file or directory\)"):
        read_split(tmp_path / "none.csv")


def test_the_parts_of_a_split_are_disjoint_and_all_is_all_three():
    parts = np.array([0, 1, 2, 0, 1, 2, 0], np.int8)
    split = SplitRows.of(parts, np.array([0, 1, 2, 3, 5]))
    assert (split.rows("train").tolist(), split.rows("valid").tolist(), split.rows("test").tolist()) == (
        [0, 3], [1], [2, 5],
    )  # fmt: skip
    assert split.rows("all").tolist() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("text", ["70/15/15", "14/3/3", "0.7/0.15/0.15", "7e1 / 15 / 15"])
def test_shares_are_read_in_any_unit(text):
    assert parse_fractions(text) == pytest.approx(FRACTIONS)


@pytest.mark.parametrize("text", ["", "70", "70/30", "70/15/15/0", "a/b/c", "70/0/30", "-1/1/1", "nan/1/1", "inf/1/1"])
def test_shares_that_are_none_are_refused(text):
    with pytest.raises(RecipeError, match="give three numbers above zero"):
        parse_fractions(text)


def test_without_a_share_for_test_there_is_none_and_two_groups_of_a_class_suffice():
    assert parse_fractions("85/15/0") == pytest.approx((0.85, 0.15, 0))
    rows = split(["cat"] * 20 + ["dog"] * 2, fractions="3/1/0")
    assert (len(rows.train), len(rows.valid), len(rows.test)) == (16, 6, 0)


def test_groups_can_be_read_from_names():
    names = ["ann/1.png", "ann/2.png", "bob/1.png", "3.png"]
    assert groups_from_names(names, "folder") == ["ann", "ann", "bob", "."]
    assert groups_from_names(names, r"^(\w+)/") == ["ann", "ann", "bob", ""]
    assert groups_from_names(names, r"\d") == ["1", "2", "1", "3"]
    assert groups_from_names(["x", "a1"], r"x|a(\d)") == ["", "1"], "a group that takes no part is no group"


def test_a_pattern_that_cannot_be_or_matches_nothing_is_refused():
    with pytest.raises(RecipeError, match="not a valid regular expression"):
        groups_from_names(["a"], "(")
    with pytest.raises(RecipeError, match="no picture.s name matches this .a, for example"):
        groups_from_names(["a"], "patient")


def test_the_public_split_is_the_one_that_training_makes(digits):
    from firstlight.data.dataset import open_dataset
    from firstlight.data.sources import load_data

    data = open_dataset(load_data("digits"), seed=3)
    for labels in (digits[1], [f"digit {label}" for label in digits[1]]):
        rows = split(labels, seed=3)
        assert all(np.array_equal(rows.rows(each.word), data.split.rows(each.word)) for each in Split)


@pytest.mark.parametrize("kind", [int, str])
def test_the_public_split_keeps_groups_together(kind):
    groups = [kind(row // 7) for row in range(300)]
    rows = split(np.arange(300) % 2, groups=groups, names=names_of(300))
    assert sorted(rows.rows("all").tolist()) == list(range(300))
    split_of = {row: each for each in Split for row in rows.rows(each.word).tolist()}
    assert all(split_of[row] == split_of[row // 7 * 7] for row in range(300))


def test_the_public_split_refuses_what_does_not_belong_together():
    with pytest.raises(DataError, match="4 labels, 3 groups and 4 names"):
        split([0, 1, 0, 1], groups=[0, 1, 2])
    with pytest.raises(RecipeError, match=r"^fractions = '70/30': give three numbers above zero") as refused:
        split([0, 1], fractions="70/30")
    assert "split.csv" not in str(refused.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_split_that_cannot_be_read_is_refused_before_anything_is_packed(tmp_path):
    os.mkfifo(tmp_path / "split.csv")
    with pytest.raises(DataError, match=r"cannot be read \(it is a named pipe"):
        require_split(str(tmp_path / "split.csv"))


def test_each_split_has_one_number_and_one_word():
    assert [(each.word, int(each)) for each in Split] == [("train", 0), ("valid", 1), ("test", 2)]
