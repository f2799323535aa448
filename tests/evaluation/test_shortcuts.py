"""Shortcuts: what is planted is found and named, and what is by chance, of copies, or of the object is not."""

import math

import numpy as np
import pytest
from scipy.stats import fisher_exact

from firstlight.evaluation.shortcuts import FOLDS, PatchCue, ValueCue, _overlap_p, _tail, find_shortcuts

CLASSES = tuple("abcdefghij")


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def values(code) -> list[ValueCue]:
    return [ValueCue("size", [np.asarray(code)])]


def patches(edge, inside) -> list[PatchCue]:
    return [PatchCue("border", np.asarray(edge, np.float32), np.asarray(inside, np.float32))]


def test_a_value_for_each_class_is_found_with_its_accuracy():
    labels = draw().integers(0, 10, 600)
    marked = draw(1).random(600) < 0.6
    code = np.where(marked, 100 + labels, draw(2).integers(0, 5, 600))
    (found,) = find_shortcuts(values(code), [], labels, CLASSES)
    assert (found.cue, found.label, found.baseline) == ("size", None, 0.1)
    assert found.gain == pytest.approx(0.6 * 0.9, abs=0.06) and found.p < 1e-50


@pytest.mark.parametrize("strength", [1.0, 0.6, 0.3])
def test_a_value_that_marks_one_class_names_it(strength):
    labels = draw().integers(0, 10, 1000)
    code = ((labels == 7) & (draw(1).random(1000) < strength)).astype(np.int64)
    (found,) = find_shortcuts(values(code), [], labels, CLASSES)
    assert found.label == "h" and found.baseline == 0
    assert found.gain == pytest.approx(strength, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_patches_by_chance_are_no_shortcut(seed):
    labels, chance = draw(seed).integers(0, 4, 300), draw(seed + 50)
    noise = patches(chance.normal(size=(300, 6)), chance.normal(size=(300, 6)))
    assert find_shortcuts(values(chance.integers(0, 40, 300)), noise, labels, CLASSES) == ()


@pytest.mark.parametrize("label", [None, "c"])
def test_an_edge_that_tells_more_than_the_inside_is_found(label):
    labels = draw().integers(0, 4, 400)
    edge, inside = draw(1).normal(0, 30, (2, 400, 12))
    marked = (draw(2).random(400) < 0.6) & ((labels == 2) if label else True)
    edge[marked] = 200 + 20 * labels[marked, None] + draw(3).normal(0, 1, (marked.sum(), 12))
    (found,) = find_shortcuts([], patches(edge, inside), labels, CLASSES)
    assert found.label == label and found.gain > 0.35 and found.p < 1e-6


def test_an_edge_that_tells_no_more_than_the_inside_is_background():
    labels = draw().integers(0, 4, 400)
    background = 60 * labels[:, None] + draw(1).normal(0, 5, (400, 12))
    assert find_shortcuts([], patches(background, background + 3), labels, CLASSES) == ()


def test_backgrounds_that_are_only_alike_are_no_mark_of_a_class():
    labels = draw().integers(0, 4, 400)
    edge, inside = draw(1).normal(0, 30, (2, 400, 12))
    some = (labels == 1) & (draw(2).random(400) < 0.3)
    edge[some] = 200 + draw(3).normal(0, 15, (some.sum(), 12))  # gray levels: far more than a border varies
    assert find_shortcuts([], patches(edge, inside), labels, CLASSES) == ()


def test_copies_count_once():
    labels = draw().integers(0, 2, 80)
    code = draw(1).integers(0, 3, 80)
    labels, code = np.append(labels, [1] * 60), np.append(code, [9] * 60)  # one image, sixty times
    groups = np.append(np.arange(80), [80] * 60)
    assert find_shortcuts(values(code), [], labels, CLASSES) != ()
    assert find_shortcuts(values(code), [], labels, CLASSES, groups) == ()


def test_classes_of_one_or_two_images_cannot_raise_an_alarm_alone():
    labels = np.append(draw().integers(0, 3, 300), [3, 3, 4])
    code = np.append(draw(1).integers(0, 3, 300), [7, 7, 8])
    assert find_shortcuts(values(code), [], labels, CLASSES) == ()


@pytest.mark.parametrize("labels", [[0, 1, 1], [0] * 9, [], [2], list(range(10)), [0, 0, 1, 1]])
def test_hardly_any_images_are_no_error_and_no_alarm(labels):
    given = np.array(labels, np.int64)
    edge = draw().normal(size=(len(given), 4))
    assert find_shortcuts(values(given), patches(edge, edge), given, CLASSES) == ()


def test_a_thousand_classes_each_with_its_own_value():
    labels = np.repeat(np.arange(1000), 2)
    names = [str(label) for label in range(1000)]
    (found,) = find_shortcuts(values(labels), [], labels, names)
    # in a fold without the other image of its class, the value of an image was never seen
    assert found.gain == pytest.approx(1 - 1 / FOLDS, abs=0.05)


def test_the_tail_is_that_of_the_binomial_distribution():
    for hits, n, p in ((3, 10, 0.2), (40, 75, 0.1), (1, 1, 0.5), (0, 9, 0.3)):
        exact = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(hits, n + 1))
        assert _tail(hits, n, p) == pytest.approx(exact)


def test_the_overlap_by_chance_is_that_of_fishers_exact_test():
    for hits, in_class, marked, n in ((3, 10, 5, 40), (60, 100, 60, 140), (2, 2, 2, 4000), (0, 5, 5, 12)):
        table = [[hits, in_class - hits], [marked - hits, n - in_class - marked + hits]]
        assert _overlap_p(hits, in_class, marked, n) == pytest.approx(fisher_exact(table, "greater").pvalue)


def test_the_order_of_the_images_is_no_cue():
    labels = np.repeat([0, 1], 200)
    same = np.zeros((400, 12))  # whichever image is nearest, it is as near as all others
    assert find_shortcuts([], patches(same, draw().normal(size=(400, 12))), labels, CLASSES) == ()


def test_a_class_that_the_inside_only_takes_too_much_for_is_judged_without_warning():
    labels = np.repeat([0, 1], [12, 24])
    inside = np.zeros((36, 12))
    inside[12:] = np.repeat(100 * np.eye(12), [1] * 6 + [3] * 6, axis=0)  # six are nearest to the other class
    edge = np.where(labels == 1, 200.0, 0.0)[:, None] + draw().normal(0, 1, (36, 12))
    assert find_shortcuts([], patches(edge, inside), labels, ("a", "b")) == ()
