"""Label errors that were planted are found, and a score that ignores the images would not pass."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from firstlight.evaluation.label_errors import find_label_errors


def planted(noise=0.05, classes=4, each=100, seed=0):
    """Features around one center for each class, logits as a good held-out head gives them, labels with noise."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), each)
    centers = 4 * rng.normal(size=(classes, 16)) / 4
    features = (centers[truth] + 0.8 * rng.normal(size=(len(truth), 16))).astype(np.float32)
    logits = -((features[:, None] - centers) ** 2).sum(axis=2) / 2
    labels, wrong = truth.copy(), np.zeros(len(truth), bool)
    wrong[rng.choice(len(truth), round(noise * len(truth)), replace=False)] = True
    labels[wrong] = (truth[wrong] + rng.integers(1, classes, wrong.sum())) % classes
    return logits.astype(np.float32), labels, features, truth, wrong


def test_planted_errors_come_first_with_the_label_that_they_had():
    logits, labels, features, truth, wrong = planted()
    found = find_label_errors(logits, labels, features)
    assert average_precision_score(wrong, found.score) > 0.9
    blind = np.random.default_rng(1).permutation(found.score)
    assert average_precision_score(wrong, blind) < 0.3, "a score that ignores the images must not pass"
    assert (found.suggested[wrong] == truth[wrong]).mean() > 0.9
    assert wrong[found.flagged].mean() > 0.9
    assert found.flagged[wrong].mean() > 0.5
    assert (np.diff(found.score[found.order]) <= 0).all()
    assert (found.score[found.order] > 0.5).all()


def test_without_noise_hardly_anything_is_flagged():
    logits, labels, features, *_ = planted(noise=0.0)
    assert find_label_errors(logits, labels, features).flagged.mean() <= 0.01


def test_neighbors_help_a_weak_head():
    logits, labels, features, _, wrong = planted(seed=3)
    weak = logits + 6 * np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    alone, both = (find_label_errors(weak, labels, seen).score for seen in (None, features))
    assert average_precision_score(wrong, both) > average_precision_score(wrong, alone) + 0.1


def test_a_copy_is_no_witness_for_its_own_wrong_label():
    logits, labels, features, _, wrong = planted(seed=5)
    twice = [np.concatenate([part] * 30) for part in (logits * 0, labels, features)]
    groups = np.tile(np.arange(len(labels)), 30)
    lone, fooled = (find_label_errors(*twice, which).score[: len(labels)] for which in (groups, None))
    assert average_precision_score(wrong, lone) > average_precision_score(wrong, fooled) + 0.05


def test_if_all_labels_are_wrong_in_the_same_way_they_are_consistent_and_nothing_is_flagged():
    logits, labels, features, truth, _ = planted(noise=0.0)
    moved = (truth + 1) % 4
    found = find_label_errors(np.roll(logits, 1, axis=1), moved, features)
    assert found.flagged.mean() <= 0.01


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_few_images_give_an_answer(count):
    found = find_label_errors(np.zeros((count, 2), np.float32), np.arange(count) % 2, np.ones((count, 3), np.float32))
    assert found.score.shape == (count,)
    assert not found.flagged.any()
    assert np.isfinite(found.score).all()


def test_one_class_gives_no_suspects():
    found = find_label_errors(np.zeros((5, 1), np.float32), np.zeros(5, np.int64), np.ones((5, 2), np.float32))
    assert not len(found.order)


def test_a_class_with_one_image_is_not_judged():
    logits, labels, features, *_ = planted(noise=0.0)
    labels[0], logits = 4, np.pad(logits, ((0, 0), (0, 1)), constant_values=-9)
    assert find_label_errors(logits, labels, features).score[0] == 0


@pytest.mark.parametrize("which", ["logits", "features"])
def test_what_is_no_number_is_refused_in_one_line(which):
    logits, labels, features, *_ = planted()
    (logits if which == "logits" else features)[3, 1] = np.nan
    with pytest.raises(ValueError, match=f"some {which} are not finite") as refused:
        find_label_errors(logits, labels, features)
    assert "\n" not in str(refused.value)
