"""Paired statistics against exact enumeration and simulation; an unpaired test fails where they do not."""

from collections import Counter
from itertools import takewhile
from math import comb

import numpy as np
import pytest
from scipy.stats import binom, norm

from firstlight.evaluation.paired import (
    accuracy_difference,
    chance_better,
    detectable_difference,
    holm,
    images_needed,
    mcnemar_mid_p,
    power,
)
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


def exact_mid_p(wins, losses):
    """By counting all ways to hand out the images on which only one of the two is right."""
    total, fewer = wins + losses, min(wins, losses)
    at_least = sum(comb(total, k) for k in range(total + 1) if abs(2 * k - total) > abs(2 * fewer - total))
    same = sum(comb(total, k) for k in range(total + 1) if abs(2 * k - total) == abs(2 * fewer - total))
    return (at_least + same / 2) / 2**total if wins != losses else 1.0


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (0, 5), (5, 1), (7, 7), (12, 26), (30, 10), (60, 41)])
def test_the_mid_p_value_is_that_of_counting_every_possibility(wins, losses):
    assert mcnemar_mid_p(wins, losses) == pytest.approx(exact_mid_p(wins, losses), rel=1e-9)


def score_statistic(wins, losses, n, difference):
    """Tango's score statistic with the likelihood of the trinomial maximized by a search."""
    grid = np.linspace(max(0.0, -difference), (1 - difference) / 2, 200_001)[1:-1]
    ties = 1 - difference - 2 * grid
    likelihood = wins * np.log(grid + difference) + losses * np.log(grid) + (n - wins - losses) * np.log(ties)
    best = grid[likelihood.argmax()]
    return (wins - losses - n * difference) / np.sqrt(n * (2 * best + difference - difference**2))


@pytest.mark.parametrize(("wins", "losses", "n"), [(12, 26, 372), (26, 12, 372), (5, 3, 40), (1, 9, 12), (3, 14, 50)])
def test_the_ends_of_the_interval_are_where_the_score_statistic_is_at_its_quantiles(wins, losses, n):
    found = accuracy_difference(wins, losses, n)
    assert found.value == (wins - losses) / n and found.n == n
    assert score_statistic(wins, losses, n, found.low) == pytest.approx(1.96, abs=1e-3)
    assert score_statistic(wins, losses, n, found.high) == pytest.approx(-1.96, abs=1e-3)


def every_outcome(n, win_rate, loss_rate):
    """All (wins, losses) of n images that are not impossibly rare, each with its probability."""
    for wins in range(n + 1):
        chance = binom.pmf(wins, n, win_rate)
        losses = np.arange(n + 1 - wins)
        chances = chance * binom.pmf(losses, n - wins, loss_rate / (1 - win_rate))
        yield from ((wins, k, chances[k]) for k in losses[chances > 1e-6].tolist())


@pytest.mark.parametrize(("n", "wins", "losses"), [(60, 0.15, 0.05), (60, 0.08, 0.08), (100, 0.04, 0.0)])
def test_the_interval_covers_the_true_difference_as_often_as_it_says_and_agrees_with_the_test(n, wins, losses):
    covered = found = 0.0
    for won, lost, chance in every_outcome(n, wins, losses):
        interval, p = accuracy_difference(won, lost, n), mcnemar_mid_p(won, lost)
        assert (interval.low > 0 or interval.high < 0) == (p < 0.05)
        covered += chance * (interval.low <= wins - losses <= interval.high)
        found += chance * (p < 0.05)
    assert 0.935 < covered < 0.97
    assert found == pytest.approx(power(abs(wins - losses), wins + losses, n), abs=2e-3)


def type_one_error(test, n, disagreement):
    """How often a test names a better one of two equally good models; exact, over all outcomes."""
    error = 0.0
    for total in range(1, n + 1):
        if (chance := binom.pmf(total, n, disagreement)) > 1e-5:
            p_values = (test(fewer, total - fewer) for fewer in range((total + 1) // 2))
            rejected = len(list(takewhile(lambda p: p < 0.05, p_values)))
            error += chance * 2 * binom.cdf(rejected - 1, total, 0.5)
    return error


def unpaired(n, accuracy=0.9):
    """The z test of two proportions, which does not know that both answered the same images."""

    def p_value(wins, losses):
        error = np.sqrt(2 * accuracy * (1 - accuracy) / n)
        return 2 * norm.sf(abs(wins - losses) / n / error)

    return p_value


@pytest.mark.parametrize(("n", "disagreement"), [(200, 0.1), (372, 0.05), (372, 0.12)])
def test_it_cries_wolf_as_often_as_it_says_which_an_unpaired_test_does_not(n, disagreement):
    assert 0.035 <= type_one_error(mcnemar_mid_p, n, disagreement) <= 0.06
    assert not 0.035 <= type_one_error(unpaired(n), n, disagreement) <= 0.06


@pytest.mark.parametrize(("disagreement", "n"), [(0.07, 372), (0.0, 372), (0.2, 100), (0.15, 10_000)])
def test_a_detectable_difference_is_found_four_times_in_five(disagreement, n):
    found = detectable_difference(disagreement, n)
    rng = np.random.default_rng(0)
    total = max(disagreement, found)
    wins, losses, _ = rng.multinomial(n, [(total + found) / 2, (total - found) / 2, 1 - total], 2000).T
    outcomes = Counter(zip(wins.tolist(), losses.tolist(), strict=True))
    detected = sum(count for (won, lost), count in outcomes.items() if mcnemar_mid_p(won, lost) < 0.05)
    assert detected / 2000 == pytest.approx(0.8, abs=0.03)


def test_too_few_images_show_no_difference_at_all():
    assert detectable_difference(0.5, 3) is None
    assert detectable_difference(0.5, 5) is not None


@pytest.mark.parametrize(("difference", "disagreement"), [(0.02, 0.07), (-0.01, 0.1), (0.05, 0.3)])
def test_the_images_needed_would_show_the_difference(difference, disagreement):
    n = images_needed(difference, disagreement)
    assert power(abs(difference), disagreement, n) == pytest.approx(0.8, abs=0.03)
    assert images_needed(0.0, disagreement) is None


def test_correcting_for_many_looks_is_that_of_statsmodels_on_an_example():
    expected = [0.005, 0.2, 0.044, 0.06, 0.044]
    assert holm([0.001, 0.2, 0.011, 0.03, 0.011]) == pytest.approx(expected)
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
