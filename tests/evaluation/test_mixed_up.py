"""Classes that nothing tells apart are named, with how many look like the other; others are not."""

import numpy as np

from firstlight.evaluation.mixed_up import MixedUp, mixed_up_classes


def sharp(looks, classes=3):
    return 5 * np.eye(classes, dtype=np.float32)[looks]


def test_two_classes_of_which_half_look_like_the_other_are_named_with_their_counts():
    labels = np.repeat([0, 1, 2], 40)
    looks = np.concatenate([[0, 1] * 20, [0, 1, 1, 1] * 5 + [0] * 20, [2] * 40])
    assert mixed_up_classes(sharp(looks), labels, "abc") == (MixedUp(("a", "b"), (20, 25), (40, 40)),)


def test_what_goes_one_way_only_or_may_be_chance_is_not_named():
    labels = np.repeat([0, 1, 2], 40)
    one_way = np.concatenate([[1] * 40, [1] * 40, [2] * 40])
    assert mixed_up_classes(sharp(one_way), labels, "abc") == ()
    few = np.array([0, 1, 0, 1, 2, 2])  # half of two images each
    assert mixed_up_classes(sharp(few), np.array([0, 0, 1, 1, 2, 2]), "abc") == ()


def test_the_worst_pair_comes_first():
    labels = np.repeat([0, 1, 2, 3], 40)
    looks = np.concatenate([[0, 1] * 20, [0, 1] * 20, [3] * 30 + [2] * 10, [2] * 30 + [3] * 10])
    assert [pair.classes for pair in mixed_up_classes(sharp(looks, 4), labels, "abcd")] == [("c", "d"), ("a", "b")]


def test_a_class_without_images_is_in_no_pair():
    assert mixed_up_classes(sharp(np.array([0, 1] * 20)), np.array([0] * 40), "abc") == ()
