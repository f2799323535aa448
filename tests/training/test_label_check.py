"""Labels of a set are judged before training: planted errors are found, and classes too small are said."""

import numpy as np

from firstlight.data.sources import load_data
from firstlight.training.label_check import check_labels, held_out_logits


def test_planted_errors_are_flagged_and_a_small_class_is_said(digits):
    images, truth = digits[0][:300], digits[1][:300]
    labels = truth.copy()
    wrong = np.arange(300) % 25 == 3
    labels[wrong] = (labels[wrong] + 4) % 10
    names = np.array([str(label) for label in labels], dtype="<U8")
    names[np.flatnonzero(~wrong & (labels == 0))[:3]] = "rare"
    samples = load_data((images, names.tolist()))
    found = check_labels(samples)
    row_of = {name: row for row, name in enumerate(samples.names)}
    flagged = [row_of[each.image] for each in found.suspects if each.flagged and each.label != "rare"]
    assert len(flagged) >= 5
    assert wrong[flagged].mean() >= 0.8
    assert found.small == ("rare",)


def test_one_class_is_answered_without_a_verdict(digits):
    found = check_labels(load_data((digits[0][:20], ["a"] * 20)))
    assert found.suspects == found.mixed_up == ()


def test_no_image_and_no_copy_of_it_is_a_witness_for_itself():
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(60, 100)).astype(np.float32), 2, axis=0)
    labels = np.repeat(rng.integers(0, 2, 60), 2)  # pure chance
    pairs, alone = np.repeat(np.arange(60), 2), np.arange(120)
    honest, fooled = (
        (held_out_logits(features, labels, groups, 2).argmax(axis=1) == labels).mean() for groups in (pairs, alone)
    )
    assert honest < 0.7
    assert fooled > 0.85
