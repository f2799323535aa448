"""The learning curve: subsets are nested, planted laws are continued, more real images help."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from firstlight.evaluation.intervals import proportion
from firstlight.runs.record import CurvePoint, LearningCurve
from firstlight.training.transfer import learning_curve
from firstlight.training.transfer.exact_head import Problem
from firstlight.training.transfer.learning_curve import (
    CURVE_FRACTIONS,
    DRAWS,
    LAST_DOUBLING,
    _subset_of_each_class,
    draw_curve,
    forecast,
)


@pytest.fixture(scope="module")
def sets(digits):
    images, labels = digits
    seen = images.reshape(-1, 64).astype(np.float32)
    return ([seen[:960]], labels[:960]), (seen[960:1400], labels[960:1400])


@pytest.fixture(scope="module")
def head(sets):
    ((seen,), labels), _ = sets
    return Problem(seen, labels, 10).solve(0.01)


@pytest.fixture(scope="module")
def curve(sets, head):
    return draw_curve(*sets, head)


@pytest.mark.parametrize(
    ("rest", "scale", "power"), [(0.0, 1.0, 0.35), (0.05, 2.0, 0.5), (0.1, 8.0, 1.0), (0.02, 0.6, 0.2)]
)
def test_a_planted_law_of_powers_is_continued(rest, scale, power):
    def accuracy(count):
        return 1 - (rest + scale * count**-power)

    ahead = forecast([(count, accuracy(count)) for count in (100, 200, 400, 800, 1600)])
    assert [count for count, _ in ahead] == [3200, 6400]
    for count, expected in ahead:
        assert expected == pytest.approx(accuracy(count), abs=0.01)


def test_a_forecast_begins_at_the_last_point_and_never_promises_more_than_all():
    level = forecast([(100, 0.8), (200, 0.8), (400, 0.8)])
    assert [expected for _, expected in level] == pytest.approx([0.8, 0.8], abs=1e-6)
    for points in ([(10, 0.2), (20, 0.9), (40, 0.99)], [(10, 1.0), (20, 1.0)], [(10, 0.9), (20, 0.5)]):
        last = points[-1][1]
        assert all(last <= expected <= 1 for _, expected in forecast(points))
    assert forecast([(7, 0.5), (7, 0.5)])[0][0] == 14


@pytest.mark.parametrize("seed", [0, 1])
def test_subsets_are_nested_and_have_their_fraction_of_every_class(seed):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [160, 30, 3]))
    smaller: set[int] = set()
    for fraction in (*CURVE_FRACTIONS, 1.0):
        rows = _subset_of_each_class(labels, fraction, seed)
        assert smaller <= set(rows.tolist())
        assert len(set(rows.tolist())) == len(rows)
        assert np.bincount(labels[rows]).tolist() == [max(1, round(fraction * count)) for count in (160, 30, 3)]
        smaller = set(rows.tolist())
    assert smaller == set(range(193))


def test_another_seed_draws_other_subsets():
    labels = np.zeros(100, np.int64)
    assert not np.array_equal(_subset_of_each_class(labels, 0.25, 0), _subset_of_each_class(labels, 0.25, 1))


def test_points_are_what_scikit_learn_says_of_heads_on_the_subsets(sets, head, monkeypatch):
    ((seen,), labels), (others, wanted) = sets
    drawn = []
    whole = learning_curve._subset_of_each_class

    def noted(*arguments):
        drawn.append(whole(*arguments))
        return drawn[-1]

    monkeypatch.setattr(learning_curve, "_subset_of_each_class", noted)
    curve = draw_curve(*sets, head, fractions=(1 / 16, 1 / 4))
    assert len(drawn) == 2 * DRAWS
    assert len({tuple(rows) for rows in drawn}) == 2 * DRAWS, "each draw is another subset"
    for point, rows in zip(curve.points, (drawn[:DRAWS], drawn[DRAWS:]), strict=False):
        found = [Problem(seen[some], labels[some], 10).solve(head.strength).logits(others) for some in rows]
        right = np.mean([accuracy_score(wanted, logits.argmax(dim=1)) for logits in found])
        assert point.accuracy.value == pytest.approx(right, abs=0.5 / len(wanted) + 1e-9)
        losses = [log_loss(wanted, logits.softmax(dim=1).numpy(), labels=range(10)) for logits in found]
        assert point.log_loss == pytest.approx(np.mean(losses), rel=1e-6)
        assert point.accuracy.n == len(wanted)
        assert point.images == len(rows[0])


def test_the_last_point_is_the_head_of_the_whole(curve, sets, head):
    (_, labels), (others, wanted) = sets
    probabilities = head.logits(others).softmax(dim=1).numpy()
    assert curve.points[-1].images == len(labels)
    assert curve.points[-1].accuracy.value == accuracy_score(wanted, probabilities.argmax(axis=1))
    assert curve.points[-1].log_loss == pytest.approx(log_loss(wanted, probabilities, labels=range(10)), rel=1e-6)


def test_more_real_images_are_better(curve):
    images = [point.images for point in curve.points]
    assert images == sorted(images)
    assert len(images) == len(CURVE_FRACTIONS) + 1
    losses = [point.log_loss for point in curve.points]
    assert losses == sorted(losses, reverse=True)
    accuracies = [point.accuracy.value for point in curve.points]
    assert all(after > before - 0.01 for before, after in zip(accuracies, accuracies[1:], strict=False))
    assert accuracies[-1] > accuracies[0] + 0.05


def test_heads_on_subsets_get_the_passes_and_the_weights_that_the_whole_one_got(sets, head, monkeypatch):
    """Else the last step of the curve would tell what those are worth, and not what pictures are."""
    ((seen,), labels), valid = sets
    weights, mirrored = torch.linspace(0.5, 2, 10), seen.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64)
    given = []

    def noted(*arguments):
        given.append(arguments)
        return Problem(*arguments)

    monkeypatch.setattr(learning_curve, "Problem", noted)
    draw_curve(([seen, mirrored], labels), valid, head, weights, fractions=LAST_DOUBLING)
    ((features, wanted, count, used),) = given
    half = len(features) // 2
    assert np.array_equal(features[:half].reshape(-1, 8, 8)[:, :, ::-1], features[half:].reshape(-1, 8, 8))
    assert np.array_equal(wanted[:half], wanted[half:])
    assert {tuple(row) for row in features[:half]} <= {tuple(row) for row in seen}
    assert count == 10
    assert used is weights


def test_the_last_drop_is_the_fraction_of_the_log_loss_that_the_last_doubling_took():
    score = proportion(9, 10)
    found = LearningCurve((CurvePoint(1, score, 5.0), CurvePoint(2, score, 0.4), CurvePoint(4, score, 0.3)), ())
    assert found.last_drop == pytest.approx(0.25)


def test_half_the_images_alone_give_two_points(sets, head):
    curve = draw_curve(*sets, head, fractions=LAST_DOUBLING)
    (_, labels), _ = sets
    assert [point.images for point in curve.points] == [sum(round(n / 2) for n in np.bincount(labels)), 960]


def test_the_same_seed_gives_the_same_curve_and_leaves_the_global_generators_alone(curve, sets, head):
    np.random.seed(3)  # noqa: NPY002 - it is the global generator that must not be used
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert draw_curve(*sets, head) == curve
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    assert draw_curve(*sets, head, seed=1) != curve
