"""The best of many against one: picking must not make false alarms, and what it adds to a score is estimated."""

import numpy as np
import pytest

from firstlight.evaluation import best_of_many
from firstlight.evaluation.best_of_many import best_against_one, optimism
from firstlight.evaluation.paired import LEVEL, accuracy_difference, mcnemar_mid_p


def equally_good(random, candidates, n, accuracy=0.8):
    """Which images each candidate gets right; each image is as easy for all."""
    easy = random.beta(4 * accuracy, 4 * (1 - accuracy), n)
    return random.random((candidates, n)) < easy


def test_the_best_of_twenty_that_are_all_equally_good_is_seldom_called_better(monkeypatch):
    monkeypatch.setattr(best_of_many, "detectable_difference", lambda *_: None)  # which takes long
    random, alarms, without = np.random.default_rng(0), 0, 0
    for _ in range(300):
        hits = equally_good(random, 21, 200)
        best = hits[1 + hits[1:].sum(axis=1).argmax()]
        alarms += best_against_one(best, hits[0], 20).is_better
        without += best_against_one(best, hits[0], 1).is_better
    assert alarms <= 300 * LEVEL < without, "without the correction, luck is taken for skill"


def test_a_real_difference_is_found_and_one_candidate_needs_no_correction():
    n = np.arange(500)
    best, one = n < 450, n < 400
    found = best_against_one(best, one, 20)
    assert found.is_better and found.difference.value == pytest.approx(0.1) and found.difference.low > 0
    assert not best_against_one(one, best, 20).is_better
    alone = best_against_one(best, one, 1)
    assert (alone.p, alone.difference) == (mcnemar_mid_p(50, 0), accuracy_difference(50, 0, 500))
    assert found.difference.low < alone.difference.low and found.p == pytest.approx(20 * alone.p)


def test_the_optimism_of_the_best_is_about_what_it_is():
    random, gaps, estimates = np.random.default_rng(1), [], []
    for _ in range(20):
        hits = equally_good(random, 20, 200)
        gaps.append(hits.mean(axis=1).max() - 0.8)
        estimates.append(optimism(hits))
    assert np.mean(estimates) == pytest.approx(np.mean(gaps), abs=0.02) and np.mean(gaps) > 0.03
    clear = np.stack([np.arange(200) < count for count in (100, 190)])
    assert optimism(clear) < 0.01
    assert optimism(hits) == optimism(hits)
