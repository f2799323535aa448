"""The paired bootstrap against exact arithmetic."""

import numpy as np
import pytest
from scipy.stats import binom

from firstlight.evaluation.comparison import chance_better
from firstlight.training.transfer.rungs import CLEARLY_BETTER


def hits(wins, losses, ties):
    """Two rungs on the same pictures: which ones each gets right."""
    first = np.repeat([True, False, True, False], [wins, losses, ties // 2, ties - ties // 2])
    second = np.repeat([False, True, True, False], [wins, losses, ties // 2, ties - ties // 2])
    order = np.random.default_rng(0).permutation(len(first))
    return first[order], second[order]


def exact_chance(wins, losses, ties):
    """The bootstrap of infinitely many draws: sum over how many draws differ, and how many of those are wins."""
    count, differing = wins + losses + ties, wins + losses
    chance = 0.0
    for differ in range(count + 1):
        beaten = 1 - binom.cdf(differ // 2, differ, wins / max(1, differing))
        tied = binom.pmf(differ / 2, differ, wins / max(1, differing)) if differ % 2 == 0 else 0.0
        chance += binom.pmf(differ, count, differing / count) * (beaten + tied / 2)
    return chance


@pytest.mark.parametrize(
    ("wins", "losses", "ties"),
    [(10, 4, 200), (3, 0, 50), (1, 0, 10), (0, 1, 10), (30, 30, 40), (60, 40, 0), (5, 9, 86), (1, 1, 0), (2, 0, 0)],
)
def test_the_chance_to_be_better_is_the_exact_one_of_the_paired_bootstrap(wins, losses, ties):
    first, second = hits(wins, losses, ties)
    assert chance_better(first, than=second) == pytest.approx(exact_chance(wins, losses, ties), abs=0.02)


@pytest.mark.parametrize(("wins", "losses", "ties"), [(10, 4, 200), (3, 0, 50), (7, 7, 7)])
def test_the_chances_of_both_sides_make_one(wins, losses, ties):
    first, second = hits(wins, losses, ties)
    assert chance_better(first, than=second) + chance_better(second, than=first) == pytest.approx(1, abs=0.02)


def test_rungs_that_are_right_on_the_same_images_are_as_good():
    same = np.array([True, False, True])
    assert chance_better(same, than=same) == 0.5


def test_a_step_is_worth_it_if_luck_hardly_explains_it():
    assert chance_better(*hits(12, 3, 200)) >= CLEARLY_BETTER
    assert chance_better(*hits(12, 9, 200)) < CLEARLY_BETTER
    assert chance_better(*hits(30, 12, 200), seed=1) == chance_better(*hits(30, 12, 200), seed=1)
