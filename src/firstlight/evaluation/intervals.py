"""Estimates: a score with its 95% interval and its sample size.

An interval answers "what might this score be on another sample of the same size from the same source?". Closed
formulas are used where they exist, so the same outputs always have the same interval. Torch is imported where it
is used: reading a record does not wait for it.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firstlight.runtime.seeds import generator

if TYPE_CHECKING:
    from torch import Tensor

NORMAL_QUANTILE = 1.959963984540054  # 97.5% of a normal distribution lie below it
NOISE_DRAWS = 500  # each used with both signs


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its 95% interval and the number of samples it rests on.

    With `n = 0` nothing is known: the value is 0 and the interval is the whole range.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n:,}"


def proportion(hits: int, n: int) -> Estimate:
    """Return the proportion `hits / n` with Wilson's score interval.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    if n == 0:
        return Estimate(0.0, 0.0, 1.0, 0)
    return Estimate(hits / n, *_wilson(hits / n, n), n)


def mean(values: "Tensor") -> Estimate:
    """Return the mean of values >= 0, float `[n]` with n >= 1, ± 1.96 standard errors, cut off at 0.

    A single value shows no spread; it gets the wide interval of the mean of an exponential distribution.
    """
    values = values.double()
    value, n = values.mean().item(), len(values)
    if n == 1:
        return Estimate(value, value / -math.log(0.025), value / -math.log(0.975), n)
    margin = NORMAL_QUANTILE * values.std().item() / math.sqrt(n)
    return Estimate(value, max(0.0, value - margin), value + margin, n)


def bounded(value: float, standard_error: float, n: int) -> Estimate:
    """Return a score in [0, 1], given its standard error, with Wilson's interval.

    The effective sample size is that of a proportion with the same error, `value (1 - value) / error²`, so the
    interval stays inside [0, 1]. Where the error is 0 (a perfect score) it is the number of samples, so that ten
    perfect answers do not claim certainty.

    Source: E. L. Korn and B. I. Graubard, Confidence intervals for proportions, Survey Methodology 1998.
    """
    variance = value * (1 - value)
    effective_n = variance / standard_error**2 if variance > 0 and standard_error > 0 else n
    return Estimate(value, *_wilson(value, effective_n), n)


def absolute_sum(deviations: "Tensor", errors: "Tensor", n: int) -> Estimate:
    """Return `sum |d_b|` of deviations d, float64 `[B]`, whose standard errors are given; range [0, 1].

    Chance alone makes this sum positive, so neither a bootstrap nor a standard error covers a true value near 0. The
    interval holds the multiples `t · d` for which noise explains the observed sum: at its lower end, `sum |t d_b +
    noise_b|` reaches that in 2.5% of the draws; at its upper end, it stays below in 1%, since the true deviations are
    less spread than the observed ones. The upper end is never below the observed sum, nor below what the standard
    errors can hide. In simulations the interval holds the true value 93 to 99 times in 100. The noise always comes from
    the same seed.

    Args:
        deviations: of each bin, float64 `[B]`.
        errors: their standard errors, float64 `[B]`.
        n: samples behind all bins.
    """
    import torch

    value = deviations.abs().sum().item()
    noise = torch.randn(NOISE_DRAWS, len(errors), generator=generator(0, "absolute_sum"), dtype=torch.float64)
    noise = torch.cat([noise, -noise]) * errors
    shape = deviations / value if value > 0 else errors / errors.sum()

    def sums(true: float, quantile: float) -> float:
        return (true * shape + noise).abs().sum(dim=1).quantile(quantile).item()

    def first(quantile: float, highest: float) -> float:
        """Return the smallest true sum, up to the highest, for which the quantile of observed sums reaches `value`."""
        low, high = 0.0, highest
        while sums(low, quantile) < value and high - low > 1e-4 * highest:
            middle = (low + high) / 2
            low, high = (low, middle) if sums(middle, quantile) >= value else (middle, high)
        return low if sums(low, quantile) >= value else high

    high = max(value, first(0.01, 1.0), NORMAL_QUANTILE * errors.norm().item())
    return Estimate(value, min(first(0.975, value), value), min(1.0, high), n)


def _wilson(value: float, n: float) -> tuple[float, float]:
    z = NORMAL_QUANTILE
    center = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z * math.sqrt(value * (1 - value) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    # At 0 and 1 the formula is exact only up to rounding.
    low = 0.0 if value == 0 else max(0.0, center - margin)
    high = 1.0 if value == 1 else min(1.0, center + margin)
    return low, high
