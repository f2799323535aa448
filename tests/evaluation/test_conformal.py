"""Prediction sets hold the right class as often as promised: against brute force, and in simulations."""

import math

import pytest
import torch

from firstlight.evaluation.conformal import conformal_quantile, set_quantiles
from firstlight.models.trust import prediction_sets


def by_brute_force(scores: list[float], coverage: float) -> float:
    """The smallest score that so many of the n + 1 images stay below or reach, the new one counted as the worst."""
    needed = math.ceil(round(coverage * (len(scores) + 1), 9))
    reached = [one for one in sorted(scores) if sum(other <= one for other in scores) >= needed]
    return reached[0] if reached else 1.0


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_quantile_is_the_one_that_counting_finds(coverage):
    random = torch.Generator().manual_seed(1)
    for n in [*range(130), 499, 999]:
        scores = torch.rand(n, generator=random, dtype=torch.float64)
        if n % 3 == 0:
            scores = (scores * 5).round() / 5  # with ties
        assert conformal_quantile(scores, coverage) == by_brute_force(scores.tolist(), coverage), n


def test_fewer_than_nine_images_leave_every_class_possible():
    assert [conformal_quantile(torch.full((n,), 0.25)) for n in (0, 3, 8, 9)] == [1.0, 1.0, 1.0, 0.25]
    held = prediction_sets(torch.tensor([[1.0, 0.0, 0.0]]), 1.0)
    assert held.all()


def test_a_score_that_is_no_number_counts_as_the_worst():
    assert conformal_quantile(torch.tensor([0.1] * 17 + [math.nan] * 2)) == 1.0
    assert conformal_quantile(torch.tensor([0.1] * 18 + [math.nan])) == pytest.approx(0.1)


def coverage_of(quantile_of, n: int, draws: int = 4000) -> float:
    """How often a new score is at most the quantile of n others: all from one uniform distribution."""
    scores = torch.rand(draws, n + 1, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    return sum(float(row[-1]) <= quantile_of(row[:-1]) for row in scores) / draws


@pytest.mark.parametrize("n", [9, 19, 39])
def test_coverage_is_kept_however_few_images_there_are(n):
    exact = math.ceil(round(0.9 * (n + 1), 9)) / (n + 1)
    margin = 3 * math.sqrt(0.09 / 4000)
    assert coverage_of(conformal_quantile, n) == pytest.approx(exact, abs=margin)
    uncorrected = coverage_of(lambda scores: scores.quantile(0.9).item(), n)
    assert uncorrected < 0.9 - margin / 2, "a quantile without the correction is told apart by this test"


def made(n: int, num_classes: int, seed: int, sharp: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels that are drawn from their probabilities; with `sharp` the model is surer."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, num_classes, generator=random) * sharp
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=random)[:, 0]
    return logits, labels


def test_overall_and_class_quantiles_cover_all_images_and_each_class():
    logits, labels = made(6000, 4, seed=0, sharp=2.0)
    logits[:, 0] += 1.5  # a model that favors one class: its own images are covered too often, the others too rarely
    overall, by_class = set_quantiles(logits[:3000], labels[:3000], temperature=1.3)
    probabilities = (logits[3000:] / 1.3).softmax(dim=1)
    wanted = labels[3000:, None]
    for quantile, floor in ((overall, 0.8), (by_class, 0.87)):
        hits = prediction_sets(probabilities, quantile).gather(1, wanted)[:, 0].double()
        rates = [hits[labels[3000:] == label].mean().item() for label in range(4)]
        assert 0.88 < hits.mean() < 0.92 + 0.02 * (quantile is by_class)
        assert (min(rates) > 0.87) == (floor == 0.87), rates


def test_a_class_without_validation_images_stays_possible_when_classes_are_counted_alone():
    logits, labels = made(300, 3, seed=2, sharp=3.0)
    kept = labels != 1
    _, by_class = set_quantiles(logits[kept], labels[kept], temperature=1.0)
    assert by_class[1] == 1.0
    assert prediction_sets(logits.softmax(dim=1), by_class)[:, 1].all()


def test_one_class_alone_is_always_the_set():
    quantile, by_class = set_quantiles(torch.zeros(20, 1), torch.zeros(20, dtype=torch.int64), temperature=1.0)
    assert quantile == 0.0
    assert by_class.tolist() == [0.0]
    assert prediction_sets(torch.ones(5, 1), quantile).all()


def set_by_brute_force(probabilities: list[float], quantile: float) -> set[int]:
    inside = {index for index, value in enumerate(probabilities) if 1 - value <= quantile}
    if not inside:
        total = 0.0
        for index in sorted(range(len(probabilities)), key=lambda index: -probabilities[index]):
            if total >= 0.9:
                break
            inside.add(index)
            total += probabilities[index]
    return inside | {max(range(len(probabilities)), key=probabilities.__getitem__)}


@pytest.mark.parametrize("quantile", [0.0, 0.2, 0.45, 0.7, 1.0])
def test_sets_are_those_of_a_loop_and_never_empty(quantile):
    probabilities = made(400, 5, seed=4, sharp=2.0)[0].double().softmax(dim=1)
    held = prediction_sets(probabilities, quantile)
    for row, inside in zip(probabilities.tolist(), held.tolist(), strict=True):
        assert {index for index, one in enumerate(inside) if one} == set_by_brute_force(row, quantile)


def test_a_doubtful_image_of_a_model_that_is_nearly_always_right_is_still_doubtful():
    probabilities = torch.tensor([[0.52, 0.46, 0.02], [0.97, 0.02, 0.01]])
    assert prediction_sets(probabilities, 0.001).tolist() == [[True, True, False], [True, False, False]]
