"""Calibration error, beside what a perfectly calibrated model would show."""

import numpy as np
import pytest
import torch

from firstlight.evaluation import reliability
from firstlight.evaluation.reliability import calibration_of, perfect_errors


def answers(n, seed, *, power=1.0):
    """Confidences, and answers that are right as often as confidence ** power says."""
    random = np.random.default_rng(seed)
    confidence = random.beta(4, 1, n)
    correct = random.random(n) < confidence**power
    return torch.from_numpy(confidence), torch.from_numpy(correct)


def error_by_a_loop(confidence, correct):
    total = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


def test_the_error_and_that_of_chance_are_those_of_slow_loops():
    confidence, correct = answers(200, seed=0, power=1.4)
    found = calibration_of(confidence, correct)
    sure = confidence.numpy()
    assert found.ece == pytest.approx(error_by_a_loop(sure, correct.numpy()))
    random = np.random.default_rng(1)
    chance = np.array([error_by_a_loop(sure, random.random(200) < sure) for _ in range(500)])
    assert found.perfect == pytest.approx(chance.mean(), abs=4 * chance.std() / np.sqrt(250))
    assert found.difference == found.ece - found.perfect
    assert found.p == pytest.approx((chance >= found.ece).mean(), abs=0.1)
    assert found.too_sure == pytest.approx(sure.mean() - correct.numpy().mean())


def test_of_perfectly_calibrated_models_one_in_twenty_has_a_p_below_a_twentieth():
    found = [calibration_of(*answers(300, seed)) for seed in range(400)]
    assert abs(np.mean([one.p <= 0.05 for one in found]) - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 400)
    assert abs(np.mean([one.difference for one in found])) < 0.003, "no bias is left"
    assert np.mean([one.ece for one in found]) > 0.03, "though the error itself is far above 0"


def test_an_overconfident_model_is_told_from_chance_and_described():
    good, bad = calibration_of(*answers(2000, seed=1)), calibration_of(*answers(2000, seed=1, power=2.0))
    assert good.p > 0.05
    assert "can be taken at face value" in good.sentence
    assert (bad.p, bad.difference > 0.05) == (1 / 501, True)
    assert "most are too high" in bad.sentence
    assert "most are too low" in calibration_of(*answers(2000, seed=1, power=0.3)).sentence


def test_many_images_are_drawn_by_the_bin_with_the_same_result(monkeypatch):
    confidence, _ = answers(20_000, seed=2)
    exact = perfect_errors(confidence.numpy())
    monkeypatch.setattr(reliability, "MOST_ANSWERS", 1000)
    normal = perfect_errors(confidence.numpy())
    assert normal.mean() == pytest.approx(exact.mean(), rel=0.05)
    assert normal.std() == pytest.approx(exact.std(), rel=0.15)


def test_blocks_of_draws_change_nothing(monkeypatch):
    confidence, _ = answers(50, seed=3)
    whole = perfect_errors(confidence.numpy())
    monkeypatch.setattr(reliability, "BLOCK_NUMBERS", 120)
    np.testing.assert_array_equal(perfect_errors(confidence.numpy()), whole)


@pytest.mark.parametrize("right", [True, False])
def test_a_single_sure_answer_is_enough_to_be_described(right):
    found = calibration_of(torch.tensor([1.0], dtype=torch.float64), torch.tensor([right]))
    assert (found.ece, found.perfect, found.n) == (1 - right, 0.0, 1)
    assert found.p == (1.0 if right else 1 / 501)
