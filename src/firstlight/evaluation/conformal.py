"""Prediction sets: quantiles of validation images, so that a set of classes holds the right one as often as promised.

The quantile has a finite-sample correction: over all draws of n validation images and one more image, the set of that
image holds its label with a probability of at least the coverage, whatever the model. Nothing is drawn at random, so an
image always has the same set; where many probabilities are equal, sets cover a little more.
"""

from fractions import Fraction

import torch
from torch import Tensor

from firstlight.evaluation.softmax import Softmax
from firstlight.models.trust import COVERAGE


def conformal_quantile(scores: Tensor, coverage: float = COVERAGE) -> float:
    """Return the score that at least `coverage` of all images stay below or reach, from a sample of them.

    It is the k-th smallest of n scores, with k = ceil((n + 1) coverage), or 1, the highest score there is, if n is too
    small for that: below 9 for a coverage of 0.9.

    Args:
        scores: 1 - the probability of the label, float `[n]` in 0..1; one that is no number counts as 1.
        coverage: above 0 and below 1.

    Source: V. Vovk, A. Gammerman and G. Shafer, Algorithmic learning in a random world, 2005, chapter 2.
    """
    exact = Fraction(str(coverage)) * (len(scores) + 1)
    place = -(-exact.numerator // exact.denominator)  # rounded up, without the errors of floating point
    if place > len(scores):
        return 1.0
    return float(scores.double().nan_to_num(nan=1.0).kthvalue(place).values)


def set_quantiles(
    logits: Tensor, labels: Tensor, temperature: float, coverage: float = COVERAGE
) -> tuple[float, Tensor]:
    """Return the quantile of all images, and those of each class's images, float64 `[K]`.

    Args:
        logits: float `[n, K]`, of images that were not trained on.
        labels: int64 `[n]`.
        temperature: by which logits are divided.
        coverage: above 0 and below 1.
    """
    scores = 1 - Softmax.of(logits, temperature).probability(labels).clamp(0, 1)
    by_class = [conformal_quantile(scores[labels == label], coverage) for label in range(logits.shape[1])]
    return conformal_quantile(scores, coverage), torch.tensor(by_class, dtype=torch.float64)
