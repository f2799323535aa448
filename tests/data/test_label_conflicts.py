"""Copies with several labels are conflicts: exact ones apart from near ones, each told once."""

import numpy as np

from firstlight.data.duplicates import Duplicates
from firstlight.data.label_conflicts import label_conflicts, with_labels
from firstlight.data.sources import load_data


def a_set(labels):
    return load_data((np.zeros((len(labels), 4, 4), np.uint8), labels))


def test_a_group_is_a_conflict_if_its_labels_differ():
    samples = a_set(["a", "a", "b", "a", "b", "b"])
    found = label_conflicts(samples, Duplicates(exact=[[0, 1], [2, 3]], near=[[4, 5], [1, 4]]))
    assert found.exact == [[2, 3]] and found.near == [[1, 4]]


def test_a_near_group_that_holds_an_exact_conflict_is_told_once():
    samples = a_set(["a", "b", "a"])
    found = label_conflicts(samples, Duplicates(exact=[[0, 1]], near=[[0, 1, 2]]))
    assert found.exact == [[0, 1]] and found.near == []


def test_groups_are_told_with_names_and_labels():
    samples = a_set(["a", "b"])
    assert with_labels(samples, [[0, 1]]) == (({"image": "00000", "label": "a"}, {"image": "00001", "label": "b"}),)
