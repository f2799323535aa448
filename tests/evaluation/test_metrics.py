"""Scores against scikit-learn, intervals against scipy and against their own promise of 95%."""

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from firstlight.evaluation import metrics
from firstlight.evaluation.intervals import Estimate, absolute_sum, bounded, mean, proportion
from firstlight.runtime.seeds import generator


def drawn(n, classes, *, sharpness=2.0, boldness=1.0, seed=0):
    """Logits whose softmax is the true law of the labels, then made too bold by a factor."""
    rng = generator(seed, "test_metrics", n, classes)
    logits = torch.randn(n, classes, generator=rng) * sharpness
    labels = torch.multinomial(logits.softmax(1), 1, generator=rng)[:, 0]
    return logits * boldness, labels


def confusion_of(logits, labels):
    return metrics.confusion_matrix(logits.argmax(1), labels, logits.shape[1])


@pytest.mark.parametrize("classes", [2, 3, 10, 40])
def test_every_score_is_scikit_learns(classes):
    logits, labels = drawn(700, classes)
    probabilities, predicted = logits.double().softmax(1), logits.argmax(1)
    truth, given = labels.numpy(), predicted.numpy()
    every = range(classes)

    assert metrics.accuracy(logits, labels).value == pytest.approx(oracle.accuracy_score(truth, given))
    expected = oracle.log_loss(truth, probabilities.numpy(), labels=every)
    assert metrics.log_loss(logits, labels).value == pytest.approx(expected)
    confusion = confusion_of(logits, labels)
    assert (np.array(confusion) == oracle.confusion_matrix(truth, given, labels=every)).all()
    columns = oracle.precision_recall_fscore_support(truth, given, labels=every, zero_division=0)
    for ours, theirs in zip((metrics.precision, metrics.recall, metrics.f1), columns[:3], strict=True):
        assert [score.value for score in ours(confusion)] == pytest.approx(theirs)
    assert [score.n for score in metrics.recall(confusion)] == columns[3].tolist()
    assert metrics.macro_f1(confusion).value == pytest.approx(oracle.f1_score(truth, given, average="macro"))


@pytest.mark.parametrize("classes", [3, 6, 20])
def test_top_five_is_scikit_learns(classes):
    logits, labels = drawn(500, classes)
    expected = oracle.top_k_accuracy_score(labels, logits.numpy(), k=min(5, classes - 1), labels=range(classes))
    assert metrics.top_k(logits, labels, k=min(5, classes - 1)).value == pytest.approx(expected)


def test_with_five_classes_or_fewer_the_label_is_always_among_five():
    logits, labels = drawn(50, 4)
    assert metrics.top_k(logits, labels).value == 1


def test_equal_logits_rank_in_the_order_of_the_classes():
    logits, labels = torch.zeros(10, 10), torch.arange(10)
    assert metrics.accuracy(logits, labels).value == 0.1
    assert metrics.top_k(logits, labels).value == 0.5
    assert (logits.argmax(1) == 0).all()


@pytest.mark.parametrize("rounding", [0.5, 1e-9])
@pytest.mark.parametrize("classes", [2, 7])
def test_areas_are_scikit_learns_ties_and_all(classes, rounding):
    logits, labels = drawn(400, classes)
    scores = ((logits / rounding).round() * rounding).double().softmax(1)
    macro, areas = metrics.roc_auc(scores, labels)
    expected = [oracle.roc_auc_score(labels == index, scores[:, index]) for index in range(classes)]
    assert [area.value for area in areas] == pytest.approx(expected)
    assert macro.value == pytest.approx(np.mean(expected))


def test_the_error_of_an_area_is_delongs():
    logits, labels = drawn(80, 2, sharpness=1.0)
    scores = logits.double().softmax(1)
    high, low = scores[labels == 1, 1].numpy(), scores[labels == 0, 1].numpy()
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    area = wins.mean()
    variance = wins.mean(1).var() / len(high) + wins.mean(0).var() / len(low)
    expected = bounded(area, math.sqrt(variance), min(len(high), len(low)))
    (_, one) = metrics.roc_auc(scores, labels)[1]
    assert (one.value, one.low, one.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert one.low == pytest.approx(area - 1.96 * math.sqrt(variance), abs=0.02)


def test_a_class_without_samples_has_no_area_and_the_mean_leaves_it_out():
    logits, labels = drawn(300, 3)
    padded = torch.cat([logits, torch.full((300, 1), -9.0)], dim=1).double().softmax(1)
    macro, areas = metrics.roc_auc(padded, labels)
    assert areas[3] is None
    assert macro.value == pytest.approx(sum(area.value for area in areas[:3]) / 3)
    assert metrics.roc_auc(padded[:1], labels[:1])[0] is None


def test_macro_f1_leaves_out_a_class_that_is_neither_there_nor_predicted():
    confusion = torch.tensor([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    assert metrics.macro_f1(confusion).value == metrics.macro_f1(confusion[:2, :2]).value
    assert metrics.macro_f1(torch.zeros(3, 3, dtype=torch.int64)) == Estimate(0.0, 0.0, 1.0, 0)


def test_the_error_of_macro_f1_is_that_of_resampled_sets():
    logits, labels = drawn(800, 4)
    confusion = confusion_of(logits, labels)
    cells = np.array(confusion).ravel()
    samples = np.random.default_rng(0).multinomial(800, cells / 800, size=2000).reshape(-1, 4, 4)
    scores = [metrics.macro_f1(sample).value for sample in samples]
    ours = metrics.macro_f1(confusion)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=0.004)


def test_calibration_error_is_the_slow_loops():
    logits, labels = drawn(600, 5, boldness=2.0)
    probabilities = logits.double().softmax(1)
    confidence, predicted = (column.numpy() for column in probabilities.max(1))
    expected = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            gap = abs((predicted == labels.numpy())[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert metrics.ece(probabilities, labels).value == pytest.approx(expected)


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_share_has_the_wilson_interval_of_scipy(hits, misses):
    n = hits + misses
    ours = proportion(hits, n)
    if n == 0:
        assert ours == Estimate(0.0, 0.0, 1.0, 0)
        return
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


@given(st.integers(1, 12), st.integers(2, 4), st.floats(0, 30), st.integers(0, 99))
def test_every_interval_holds_its_value_within_the_range_however_few_samples(n, classes, sharpness, seed):
    logits, labels = drawn(n, classes, sharpness=sharpness, seed=seed)
    probabilities, confusion = logits.double().softmax(1), confusion_of(logits, labels)
    macro, areas = metrics.roc_auc(probabilities, labels)
    rates = [
        metrics.accuracy(logits, labels),
        metrics.top_k(logits, labels),
        metrics.ece(probabilities, labels),
        metrics.macro_f1(confusion),
        *metrics.precision(confusion),
        *metrics.recall(confusion),
        *metrics.f1(confusion),
        *(area for area in (macro, *areas) if area),
    ]
    assert all(0 <= rate.low <= rate.value <= rate.high <= 1 for rate in rates)
    loss = metrics.log_loss(logits, labels)
    assert 0 <= loss.low <= loss.value <= loss.high < math.inf


def test_ten_perfect_answers_do_not_claim_certainty():
    logits, labels = 50 * torch.eye(10), torch.arange(10)
    confusion, probabilities = confusion_of(logits, labels), logits.double().softmax(1)
    wilson = proportion(10, 10).low
    assert metrics.macro_f1(confusion).low == pytest.approx(wilson)
    assert metrics.roc_auc(probabilities, labels)[0].low == pytest.approx(wilson)
    assert metrics.f1(confusion)[0].low < 0.5
    assert metrics.ece(probabilities, labels).high > 0.05


def test_a_mean_has_the_interval_of_its_standard_error():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0])
    reach = 1.959964 * stats.sem(values.numpy())
    ours = mean(values)
    assert (ours.value, ours.low, ours.high) == pytest.approx((4.0, max(0, 4 - reach), 4 + reach))
    lone = mean(values[:1])
    assert lone.low == pytest.approx(1 / stats.expon.ppf(0.975))
    assert lone.high == pytest.approx(1 / stats.expon.ppf(0.025))


def test_an_estimate_reads_as_a_sentence():
    assert str(Estimate(0.893, 0.8868, 0.8989, 10_000)) == "0.893 [0.887, 0.899], n = 10,000"


def test_the_calibration_interval_of_no_deviation_starts_at_zero():
    estimate = absolute_sum(torch.zeros(3, dtype=torch.float64), torch.full((3,), 0.01, dtype=torch.float64), 9)
    assert estimate.low == estimate.value == 0 < estimate.high < 0.05


@pytest.mark.parametrize("boldness", [1.0, 1.5])
def test_intervals_hold_the_truth_about_95_times_in_100(boldness):
    """The property the intervals promise; 95 +- 4.5 is three standard errors of 200 trials."""
    size, trials = 400, 200
    logits, labels = drawn(trials * size, 4, boldness=boldness, seed=1)
    everything = scores_of(*drawn(150_000, 4, boldness=boldness, seed=2))
    truths = {name: score.value for name, score in everything.items()}
    if boldness == 1:
        truths["ece"] = 0.0  # by construction
    held = dict.fromkeys(truths, 0)
    for part, answers in zip(logits.split(size), labels.split(size), strict=True):
        for name, score in scores_of(part, answers).items():
            held[name] += score.low <= truths[name] <= score.high
    for name, count in held.items():
        # ECE near 0 has one side only, and its interval may then hold the truth more often.
        assert 0.905 <= count / trials <= (1.0 if name == "ece" else 0.995), (name, count / trials)


def scores_of(logits, labels):
    probabilities, confusion = logits.double().softmax(1), confusion_of(logits, labels)
    return {
        "accuracy": metrics.accuracy(logits, labels),
        "log_loss": metrics.log_loss(logits, labels),
        "recall": metrics.recall(confusion)[0],
        "f1": metrics.f1(confusion)[1],
        "macro_f1": metrics.macro_f1(confusion),
        "auc": metrics.roc_auc(probabilities, labels)[0],
        "ece": metrics.ece(probabilities, labels),
    }


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(metrics) == (0, 15)
