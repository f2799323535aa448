"""The temperature against scipy's minimizer, and at the borders where there is no minimum."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from firstlight.evaluation.calibration import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, fit_temperature
from firstlight.evaluation.metrics import ece, log_loss
from firstlight.runtime.seeds import generator


def drawn(n, classes, boldness, seed=0):
    rng = generator(seed, "test_calibration", n, classes)
    logits = 2 * torch.randn(n, classes, generator=rng)
    labels = torch.multinomial(logits.softmax(1), 1, generator=rng)[:, 0]
    return logits * boldness, labels


@pytest.mark.parametrize("boldness", [0.2, 1.0, 3.0, 9.0])
@pytest.mark.parametrize(("n", "classes"), [(40, 2), (3000, 10)])
def test_the_temperature_is_scipys_minimum(n, classes, boldness):
    logits, labels = drawn(n, classes, boldness)
    table, rows = logits.double().numpy(), np.arange(n)

    def loss(log_temperature):
        return -log_softmax(table / np.exp(log_temperature), axis=1)[rows, labels.numpy()].mean()

    bounds = (np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(best.x), rel=1e-5)


def test_a_bold_classifier_gets_its_boldness_back_and_becomes_calibrated():
    logits, labels = drawn(20_000, 10, boldness=2.5)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(2.5, rel=0.05)
    assert ece((logits / temperature).softmax(1), labels).value < 0.2 * ece(logits.softmax(1), labels).value


@pytest.mark.parametrize("seed", range(30))
def test_tiny_sets_give_a_temperature_in_bounds_that_is_no_worse_than_one(seed):
    logits, labels = drawn(1 + seed % 6, 3, boldness=5.0, seed=seed)
    temperature = fit_temperature(logits, labels)
    assert LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE
    assert log_loss(logits / temperature, labels).value <= log_loss(logits, labels).value


def test_without_a_mistake_nothing_is_learned_about_boldness():
    assert fit_temperature(3 * torch.eye(5), torch.arange(5)) == 1
    assert fit_temperature(torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64)) == 1
    assert fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == 1


def test_always_wrong_goes_to_the_hottest():
    assert fit_temperature(3 * torch.eye(5), (torch.arange(5) + 1) % 5) == pytest.approx(HIGHEST_TEMPERATURE)


def test_huge_logits_do_no_harm():
    logits, labels = drawn(500, 4, boldness=1.0)
    assert fit_temperature(logits * 1e6, labels) == pytest.approx(HIGHEST_TEMPERATURE)
    assert fit_temperature(logits + 1e4, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-2)
