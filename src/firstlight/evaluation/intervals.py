"""Numbers that say how sure they are: a value, its 95 % interval, and how many samples stand behind it.

The intervals answer "what might this number be on another sample of the same size from the same source?".
They are closed formulas where there is one, so that the same outputs always give the same interval.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from firstlight.runtime.seeds import generator

Z = 1.959963984540054  # the normal law leaves 2.5 % above it
DRAWS = 500  # each drawn with both signs


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval and the count of samples it rests on.

    With `n = 0` the value is 0 and stands for "nothing is known": the interval is then the whole range.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n:,}"


def proportion(hits: int, n: int) -> Estimate:
    """Estimate a proportion from `hits` out of `n`, with Wilson's score interval.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    if n == 0:
        return Estimate(0.0, 0.0, 1.0, 0)
    return Estimate(hits / n, *_wilson(hits / n, n), n)


def mean(values: Tensor) -> Estimate:
    """Estimate the mean of values >= 0, float [n], n >= 1, as mean ± 1.96 standard errors, cut at 0.

    One value alone shows no spread; it gets the interval of an exponential law's mean, which is wide.
    """
    values = values.double()
    value, n = values.mean().item(), len(values)
    if n == 1:
        return Estimate(value, value / -math.log(0.025), value / -math.log(0.975), n)
    reach = Z * values.std().item() / math.sqrt(n)
    return Estimate(value, max(0.0, value - reach), value + reach, n)


def bounded(value: float, standard_error: float, n: int) -> Estimate:
    """Estimate a number that lives in [0, 1] from its standard error, with Wilson's interval.

    The error is turned into the number of coin tosses that would have it, `value (1 - value) / error²`: near
    0 and 1 the interval leans to the inside instead of running out of the range. Where no error can be seen
    (a perfect score) there are as many tosses as samples, so that ten perfect answers do not claim certainty.

    Source: E. L. Korn and B. I. Graubard, Confidence intervals for proportions, Survey Methodology 1998.
    """
    variance = value * (1 - value)
    tosses = variance / standard_error**2 if variance > 0 and standard_error > 0 else n
    return Estimate(value, *_wilson(value, tosses), n)


def absolute_sum(deviations: Tensor, errors: Tensor, n: int) -> Estimate:
    """Estimate `sum |d_b|` of deviations d [B] whose standard errors are given, float64 [B]; range [0, 1].

    Chance alone makes this sum positive, so neither its bootstrap nor its standard error covers the truth
    when the truth is near 0. Upwards the standard error is enough: `sum |d_b|` is at least the sum with the
    true signs, which chance does not shift. Downwards the interval ends at the smallest multiple `t · d` for
    which `sum |t d_b + noise_b|`, drawn always from the same seed, reaches what we saw in 2.5 % of the draws.
    """
    value = deviations.abs().sum().item()
    noise = torch.randn(DRAWS, len(errors), generator=generator(0, "absolute_sum"), dtype=torch.float64)
    noise = torch.cat([noise, -noise]) * errors

    def explains(multiple: float) -> bool:
        return (multiple * deviations + noise).abs().sum(dim=1).quantile(0.975).item() >= value

    low, high = (0.0, 0.0) if explains(0.0) else (0.0, 1.0)
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if explains(middle) else (middle, high)
    return Estimate(value, low * value, min(1.0, value + Z * errors.norm().item()), n)


def _wilson(value: float, n: float) -> tuple[float, float]:
    center = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z * math.sqrt(value * (1 - value) / n + (Z / (2 * n)) ** 2) / (1 + Z**2 / n)
    # At 0 and 1 the formula meets the border only up to rounding.
    low = 0.0 if value == 0 else max(0.0, center - reach)
    high = 1.0 if value == 1 else min(1.0, center + reach)
    return low, high
