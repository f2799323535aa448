"""Paired statistics: which of two classifiers is right more often, from the images on which only one of them is.

Both answered the same images. `wins` are the images that only the second got right, `losses` those that only the first
did; on all others they are equally good, which is why far fewer images are needed than for two separate samples.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, gammaln, ndtri, stdtrit, xlogy

from firstlight.evaluation.intervals import Estimate
from firstlight.runtime.seeds import derive_seed

LEVEL = 0.05  # the accepted chance of naming a better one where there is none
POWER = 0.8  # how often a difference that is called detectable would be found
BISECTIONS = 27  # each halves an error of at most 1
BOOTSTRAP_DRAWS = 10_000
ROUGH_BISECTIONS = 17  # of what is told to a tenth of a point
TAIL = 7  # standard deviations of a binomial distribution beyond which its probabilities are left out


def mcnemar_mid_p(wins: int, losses: int) -> float:
    """Return the two-sided mid-p value of McNemar's test: how likely luck alone makes wins and losses so different.

    Given that one of the two is right and the other wrong, each is as likely as the other if both are equally good.
    Counting half the probability of what was observed keeps the rate of false alarms near the level, where the exact
    test stays far below it.

    Source: M. W. Fagerland, S. Lydersen and P. Laake, The McNemar test for binary matched-pairs data, BMC Medical
    Research Methodology 2013.
    """
    return float(_mid_p(np.array([min(wins, losses)]), np.array([wins + losses]))[0])


def accuracy_difference(wins: int, losses: int, n: int, level: float = LEVEL) -> Estimate:
    """Return the accuracy of the second minus that of the first, with Tango's score interval.

    The interval goes with the test: it excludes 0 exactly where McNemar's mid-p value is below `level`. (By itself it
    would also exclude 0 in a handful of cases at the very border, where it is widened to 0.)

    Args:
        wins: images that only the second got right.
        losses: images that only the first got right.
        n: all images, n >= 1.
        level: 1 minus the coverage; 0.05 for a 95% interval.

    Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 1998.
    """
    value, z = (wins - losses) / n, float(-ndtri(level / 2))

    def score(difference: float) -> float:
        linear = (2 * n - wins + losses) * difference - wins - losses
        root = math.sqrt(max(0.0, linear**2 + 8 * n * losses * difference * (1 - difference)))
        loss_rate = (root - linear) / (4 * n)
        variance = n * (2 * loss_rate + difference * (1 - difference))
        distance = wins - losses - n * difference
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    low = -1.0 if value == -1 else _root(lambda point: score(point) - z, -1.0, value)
    high = 1.0 if value == 1 else _root(lambda point: score(point) + z, value, 1.0)
    if mcnemar_mid_p(wins, losses) >= level:
        low, high = min(low, 0.0), max(high, 0.0)
    return Estimate(value, low, high, n)


def mean_difference(differences: NDArray[np.float64], level: float = LEVEL) -> Estimate:
    """Return the mean of differences, one for each image, float64 `[n]`, n >= 2, with Student's interval."""
    n = len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    return around(float(differences.mean()), error, n, degrees=n - 1, level=level)


def around(value: float, error: float, n: int, *, degrees: float, level: float = LEVEL) -> Estimate:
    """Return a value with Student's interval, given its standard error and the degrees of freedom of that error."""
    margin = float(-stdtrit(degrees, level / 2)) * error if error > 0 else 0.0
    return Estimate(value, value - margin, value + margin, n)


def power(difference: float, disagreement: float, n: int, level: float = LEVEL) -> float:
    """Return how often McNemar's mid-p test would find a difference in accuracy; exact, up to rounding.

    Args:
        difference: the true one, 0 or more.
        disagreement: the fraction of images on which only one of the two is right, at least `difference`.
        n: images.
        level: below which the p value has to be.
    """
    spread = TAIL * math.sqrt(n * disagreement * (1 - disagreement)) + 1
    first, last = max(0, math.floor(n * disagreement - spread)), min(n, math.ceil(n * disagreement + spread))
    totals = np.arange(first, last + 1)
    most = _largest_rejected(totals, level)
    wins = (1 + difference / disagreement) / 2 if disagreement > 0 else 0.5
    found = _cdf(most, totals, wins) + _cdf(most, totals, 1 - wins)
    return float((_pmf(totals, n, disagreement) * found).sum())


def detectable_difference(disagreement: float, n: int, level: float = LEVEL) -> float | None:
    """Return the smallest difference in accuracy that n images would show 80% of the time; None if none would be.

    Args:
        disagreement: the observed fraction of images on which only one of the two is right. A difference that is
            larger than this takes more disagreement, as much as itself.
        n: images.
        level: below which the p value has to be.
    """

    def lacking(difference: float) -> float:
        return POWER - power(difference, max(disagreement, difference), n, level)

    return None if lacking(1.0) > 0 else _root(lacking, 0.0, 1.0, ROUGH_BISECTIONS)


def images_needed(difference: float, disagreement: float, level: float = LEVEL) -> int | None:
    """Return about how many images would show a difference in accuracy 80% of the time; None for no difference.

    Source: R. J. Connor, Sample size for testing differences in proportions for the paired-sample design, Biometrics
    1987.
    """
    size = abs(difference)
    if size == 0:
        return None
    disagreement = max(disagreement, size)
    sides = ndtri(1 - level / 2) * math.sqrt(disagreement) + ndtri(POWER) * math.sqrt(disagreement - size**2)
    return math.ceil(float(sides / size) ** 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for many looks: the chance of even one false alarm among all stays below the level.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order, corrected, highest = np.argsort(p_values, kind="stable").tolist(), [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def chance_better(hits: NDArray[np.bool_], than: NDArray[np.bool_], seed: int = 0) -> float:
    """Return how often the first predictions beat the second when images are resampled: a paired bootstrap.

    Args:
        hits: of one rung, bool `[n]`.
        than: of another, on the same images.
        seed: of the draws.

    Returns:
        the fraction of the draws, ties counted half; 0.5 if the two are right on the same images.
    """
    wins, losses, count = int((hits & ~than).sum()), int((than & ~hits).sum()), len(hits)
    chances = (wins / count, losses / count, 1 - (wins + losses) / count)
    drawn = np.random.default_rng(derive_seed(seed, "bootstrap")).multinomial(count, chances, BOOTSTRAP_DRAWS)
    difference = drawn[:, 0] - drawn[:, 1]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def _mid_p(fewer: ArrayLike, totals: ArrayLike) -> NDArray[np.float64]:
    """Return mid-p values, float64, where of each total so many are on the side with fewer."""
    p: NDArray[np.float64] = np.minimum(1.0, 2 * _cdf(fewer, totals, 0.5) - _pmf(fewer, totals, 0.5))
    return np.where(2 * np.asarray(fewer) == np.asarray(totals), 1.0, p)


def _cdf(most: ArrayLike, n: ArrayLike, chance: float) -> NDArray[np.float64]:
    """Return how likely at most so many of n are, binomially; 0 where `most` is negative."""
    most = np.asarray(most)
    return np.where(most < 0, 0.0, bdtr(np.maximum(most, 0).astype(float), n, chance))


def _pmf(count: ArrayLike, n: ArrayLike, chance: float) -> NDArray[np.float64]:
    """Return how likely exactly so many of n are, binomially."""
    rest = np.asarray(n) - count
    ways = gammaln(np.add(n, 1)) - gammaln(np.add(count, 1)) - gammaln(rest + 1)
    likely: NDArray[np.float64] = np.exp(ways + xlogy(count, chance) + xlogy(rest, 1 - chance))
    return likely


def _largest_rejected(totals: NDArray[np.int64], level: float) -> NDArray[np.int64]:
    """Return for each total how many may be on the side with fewer, at most, for p < level; -1 if none, int64."""
    about = (totals - float(-ndtri(level / 2)) * np.sqrt(totals)) / 2  # the normal distribution's, less than 2 away
    guess = np.minimum(np.floor(about).astype(np.int64) + 2, (totals - 1) // 2)
    candidates = guess[:, None] - np.arange(5)
    rejected = (candidates >= 0) & (_mid_p(np.maximum(candidates, 0), totals[:, None]) < level)
    return np.where(rejected.any(axis=1), guess - rejected.argmax(axis=1), -1)


def _root(falling: Callable[[float], float], low: float, high: float, bisections: int = BISECTIONS) -> float:
    """Return where a falling function crosses 0 between two points, to 8 digits."""
    for _ in range(bisections):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
