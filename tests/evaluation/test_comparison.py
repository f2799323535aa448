"""A comparison against scikit-learn, resampling, and planted differences."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from firstlight.errors import DataError
from firstlight.evaluation.comparison import compare_logits

CLASSES = tuple("abcdef")


def answers(n=400, seed=0, noise=(0.8, 0.8), better=0.0):
    """Labels, and the logits of two models that share most of what they get wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), n)
    shared = 1.3 * rng.standard_normal((n, len(CLASSES)))
    shared[np.arange(n), labels] += 3
    logits = [shared + size * rng.standard_normal(shared.shape) for size in noise]
    logits[1][np.arange(n), labels] += better
    return labels, tuple(values.astype(np.float32) for values in logits)


def probabilities(logits, temperature):
    scaled = np.exp(logits.astype(float) / temperature)
    return scaled / scaled.sum(axis=1, keepdims=True)


def test_the_scores_of_both_are_those_of_scikit_learn():
    labels, logits = answers()
    found = compare_logits(labels, logits, CLASSES, temperatures=(1.5, 0.7))
    for place, temperature in enumerate((1.5, 0.7)):
        predicted = logits[place].argmax(axis=1)
        assert found.accuracy[place] == pytest.approx(accuracy_score(labels, predicted))
        assert found.macro_f1[place] == pytest.approx(f1_score(labels, predicted, average="macro"))
        assert found.log_loss[place] == pytest.approx(log_loss(labels, probabilities(logits[place], temperature)))
    for name in ("accuracy", "macro_f1", "log_loss"):
        first, second = getattr(found, name)
        assert getattr(found, f"{name}_difference").value == pytest.approx(second - first)


def test_the_counts_and_the_images_are_those_that_only_one_gets_right():
    labels, logits = answers(60)
    found = compare_logits(labels, logits, CLASSES, images=[f"{row}.png" for row in range(60)])
    right = [values.argmax(axis=1) == labels for values in logits]
    assert found.only_a == (right[0] & ~right[1]).sum() and found.only_b == (right[1] & ~right[0]).sum()
    assert found.both_right + found.only_a + found.only_b + found.both_wrong == found.n == 60
    rows = np.flatnonzero(right[0] != right[1])
    assert [one.image for one in found.disagreements] == [f"{row}.png" for row in rows]
    assert all((one.a == one.label) != (one.b == one.label) for one in found.disagreements)


def mean_f1(labels, predicted):
    counts = [np.bincount(of, minlength=len(CLASSES)) for of in (labels, predicted, labels[labels == predicted])]
    return (2 * counts[2] / (counts[0] + counts[1])).mean()


@pytest.mark.parametrize("better", [0.0, 0.6])
def test_the_intervals_are_as_wide_as_resampling_the_images_says(better):
    labels, logits = answers(500, better=better)
    found = compare_logits(labels, logits, CLASSES)
    predicted = [values.argmax(axis=1) for values in logits]
    losses = [-np.log(probabilities(values, 1.0)[np.arange(500), labels]) for values in logits]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(600):
        rows = rng.integers(0, 500, 500)
        f1 = [mean_f1(labels[rows], one[rows]) for one in predicted]
        right = [(one[rows] == labels[rows]).mean() for one in predicted]
        loss = [one[rows].mean() for one in losses]
        drawn.append([scores[1] - scores[0] for scores in (right, f1, loss)])
    spread = np.std(drawn, axis=0)
    intervals = (found.accuracy_difference, found.macro_f1_difference, found.log_loss_difference)
    for interval, error in zip(intervals, spread, strict=True):
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.12)


@pytest.mark.slow
def test_the_intervals_of_equally_good_models_leave_out_zero_one_time_in_twenty():
    missed, unpaired = np.zeros(3), 0
    for seed in range(400):
        labels, logits = answers(150, seed)
        found = compare_logits(labels, logits, CLASSES)
        intervals = (found.accuracy_difference, found.macro_f1_difference, found.log_loss_difference)
        missed += [interval.low > 0 or interval.high < 0 for interval in intervals]
        margin = 1.96 * np.sqrt(sum(score * (1 - score) / 150 for score in found.accuracy))
        unpaired += abs(found.accuracy_difference.value) > margin
    assert ((missed / 400 > 0.02) & (missed / 400 < 0.08)).all()  # of 400, 20 +- 9 are expected
    assert unpaired / 400 < 0.02  # as if the images were not the same: far too wide


def test_the_better_one_is_named_whichever_comes_first():
    labels, (worse, better) = answers(800, better=0.8)
    assert compare_logits(labels, (worse, better), CLASSES).verdict == "b"
    turned = compare_logits(labels, (better, worse), CLASSES, models=("new", "old"), split="valid")
    assert turned.verdict == "a" and turned.accuracy_difference.high < 0
    assert turned.headline.startswith("new is better than old on 800 validation pictures: it gets ")


def test_what_cannot_be_told_says_what_could_be():
    labels, logits = answers(100)
    found = compare_logits(labels, logits, CLASSES)
    assert found.verdict == "cannot tell" and found.p > 0.05
    assert f"n = 100 would show a difference of {100 * found.detectable:.1f} points or more" in found.headline


def test_a_class_that_only_one_recognizes_is_found_and_no_other():
    labels, (first, second) = answers(1200, noise=(0.3, 0.3))
    second = second.copy()
    second[labels == 2, 2] -= 3
    found = compare_logits(labels, (first, second), CLASSES)
    assert [one.name for one in found.differing_classes] == ["c"]
    (one,) = found.differing_classes
    assert one.difference.high < 0 and one.recall[0] > one.recall[1]
    assert sum(each.difference.n for each in found.per_class) == 1200


def test_looking_at_many_classes_finds_none_that_differ_by_chance():
    rng, alarms = np.random.default_rng(0), 0
    classes = [f"class {number}" for number in range(30)]
    for _ in range(20):
        labels = rng.integers(0, 30, 900)
        logits = [rng.standard_normal((900, 30)).astype(np.float32) for _ in range(2)]
        for values in logits:
            values[np.arange(900), labels] += 2
        alarms += bool(compare_logits(labels, tuple(logits), classes).differing_classes)
    assert alarms <= 4  # of 20; without the correction there are about 15


@pytest.mark.parametrize("n", [2, 3])
def test_a_few_images_are_compared_without_pretending_to_know(n):
    labels = np.arange(n)
    wrong, right = -np.eye(n, 6, dtype=np.float32), np.eye(n, 6, dtype=np.float32)
    found = compare_logits(labels, (wrong, right), CLASSES)
    assert found.verdict == "cannot tell" and found.detectable is None
    assert f"n = {n} is too few to show any difference" in found.headline
    json.dumps(found.to_json(), allow_nan=False)


def test_the_same_answers_are_no_difference_and_no_certainty():
    labels, (logits, _) = answers(50)
    found = compare_logits(labels, (logits, logits), CLASSES)
    assert found.verdict == "cannot tell" and found.p == 1
    assert found.accuracy_difference.low < 0 < found.accuracy_difference.high
    assert found.macro_f1_difference.low < 0 < found.macro_f1_difference.high
    assert "both get" in found.headline


def test_images_of_one_class_are_compared_too():
    _, logits = answers(40)
    found = compare_logits(np.zeros(40, np.int64), logits, CLASSES)
    assert [one.name for one in found.per_class] == ["a"]
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("n", [0, 1])
def test_less_than_two_images_are_refused(n):
    with pytest.raises(DataError, match=f"cannot be compared on {n} picture"):
        compare_logits(np.zeros(n, np.int64), (np.zeros((n, 6), np.float32),) * 2, CLASSES)


def test_logits_that_are_no_numbers_are_refused_with_the_name_of_the_model():
    labels, (first, second) = answers(20)
    second = second.copy()
    second[3, 1] = np.nan
    with pytest.raises(DataError, match="runs/b gives no finite number for 1 of 20 pictures"):
        compare_logits(labels, (first, second), CLASSES, models=("runs/a", "runs/b"))


def test_json_has_the_promised_names_and_the_text_and_the_table_the_numbers():
    labels, logits = answers(better=0.5)
    found = compare_logits(labels, logits, CLASSES)
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["n"] == 400 and value["verdict"] in ("a", "b", "cannot tell")
    assert {"value", "low", "high"} <= value["accuracy_difference"].keys()
    assert value["p"] == found.p and value["detectable"] == found.detectable
    assert value["accuracy"] == {"a": found.accuracy[0], "b": found.accuracy[1]}
    assert found.headline in str(found) and "accuracy" in str(found)
    assert list(found.to_pandas()["class"]) == list(CLASSES)
    assert "b minus a" in found._repr_html_() and repr(found).startswith("Comparison('")


def test_names_cannot_control_the_terminal_or_the_page():
    labels, logits = answers()
    found = compare_logits(labels, logits, CLASSES, models=("\x1b[31m", "<script>"))
    assert "\x1b" not in found.headline
    assert "<script>" not in found._repr_html_()
