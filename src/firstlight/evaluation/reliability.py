"""Reliability: how far a model's confidence is from its accuracy, and how far chance alone would put it.

The expected calibration error (ECE) adds up distances, so it is above 0 even for a perfectly calibrated model: with few
images a bin holds more or fewer correct answers than its confidence says, by chance. `Calibration` sets the two apart.

Torch is imported where it is used: reading a record does not wait for it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from firstlight.evaluation.intervals import Estimate, absolute_sum
from firstlight.runtime.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

ECE_BINS = 15
DRAWS = 500  # of answers that a perfectly calibrated model might have given
BLOCK_NUMBERS = 1 << 22  # random numbers at a time
MOST_ANSWERS = 20_000  # of more, bins are drawn as a whole: from the normal distribution, which they then follow
CHANCE = 0.05  # a p-value above this is called chance


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether probabilities can be taken at face value.

    Attributes:
        ece: expected calibration error, over 15 equal-width bins.
        perfect: the mean ECE that a perfectly calibrated model with the same confidences would show on as many images.
        difference: `ece - perfect`; below 0 where chance was kind.
        p: how often such a model would show at least this ECE: the smallest value is 1 / 501.
        too_sure: mean confidence minus accuracy; below 0 for a model that is too modest.
        n: images.
    """

    ece: float
    perfect: float
    difference: float
    p: float
    too_sure: float
    n: int

    def __str__(self) -> str:
        return (
            f"{self.ece:.3f}; a perfectly calibrated model would show {self.perfect:.3f} (p = {self.p:.2g}), "
            f"n = {self.n:,}"
        )

    @property
    def sentence(self) -> str:
        """What follows for whoever uses the probabilities, as one sentence."""
        if self.p > CHANCE:
            return (
                f"Probabilities can be taken at face value: they are off by {self.ece:.3f} on average, where chance "
                f"alone would show {self.perfect:.3f} (n = {self.n:,})."
            )
        direction = "too high" if self.too_sure > 0 else "too low"
        return (
            f"Probabilities are off by {self.ece:.3f} on average, more than chance alone would show "
            f"({self.perfect:.3f}, n = {self.n:,}); most are {direction}."
        )


def calibration_of(confidence: "Tensor", correct: "Tensor", bins: int = ECE_BINS) -> Calibration:
    """Return how far confidence is from accuracy, beside what a perfectly calibrated model would show.

    Args:
        confidence: the highest probability of each image, float64 `[n]`, n >= 1.
        correct: whether the most probable class was the label, bool `[n]`.
        bins: of equal width.

    Source: J. Vaicenavicius et al., Evaluating model calibration in classification, AISTATS 2019.
    """
    sure, right = confidence.cpu().numpy(), correct.cpu().numpy()
    ece = float(_distances(sure, right[None], bins)[0])
    chance = perfect_errors(sure, bins)
    perfect = float(chance.mean())
    return Calibration(
        ece=ece,
        perfect=perfect,
        difference=ece - perfect,
        p=float((1 + (chance >= ece - 1e-12).sum()) / (1 + DRAWS)),
        too_sure=float(sure.mean() - right.mean()),
        n=len(sure),
    )


def perfect_errors(confidence: NDArray[np.float64], bins: int = ECE_BINS) -> NDArray[np.float64]:
    """Return ECEs of a perfectly calibrated model with these confidences, float64 `[500]`; always the same ones.

    Args:
        confidence: the highest probability of each image, float64 `[n]`.
        bins: of equal width.
    """
    random = np.random.default_rng(derive_seed(0, "perfect calibration"))
    if len(confidence) > MOST_ANSWERS:
        variances = np.bincount(bin_of(confidence, bins), confidence * (1 - confidence), minlength=bins)
        drawn = random.standard_normal((DRAWS, bins)) * np.sqrt(variances)
        return _mean_distance(drawn, len(confidence))
    rows = max(1, BLOCK_NUMBERS // len(confidence))
    draws = (random.random((min(rows, DRAWS - done), len(confidence))) for done in range(0, DRAWS, rows))
    return np.concatenate([_distances(confidence, drawn < confidence, bins) for drawn in draws])


def bin_of(confidence: NDArray[np.float64], bins: int = ECE_BINS) -> NDArray[np.int64]:
    """Return the bin of each confidence, int64 `[n]`; bin b is (b / bins, (b + 1) / bins]."""
    return np.searchsorted(np.arange(1, bins) / bins, confidence)


def calibration_error(confidence: "Tensor", correct: "Tensor", bins: int = ECE_BINS) -> Estimate:
    """Return the expected calibration error, as `metrics.ece`, from the highest probability of each sample.

    Args:
        confidence: float64 `[n]`.
        correct: whether the most probable class was the label, bool `[n]`.
        bins: of equal width.
    """
    import torch

    n = len(confidence)
    if n == 0:
        return Estimate(0.0, 0.0, 1.0, 0)
    sure, right = confidence.cpu().numpy(), correct.cpu().numpy()
    place = bin_of(sure, bins)
    size, hits, total = (np.bincount(place, of, minlength=bins) for of in (None, right, sure))
    rate = (hits + 2) / (size + 4)
    errors = np.sqrt(size * rate * (1 - rate)) / n
    return absolute_sum(torch.from_numpy((total - hits) / n), torch.from_numpy(errors), n)


def _distances(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int) -> NDArray[np.float64]:
    """Return the ECE of each row of answers, bool `[R, n]`, float64 `[R]`."""
    place = bin_of(confidence, bins)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    hits = np.add.reduceat(correct[:, order], starts, axis=1, dtype=np.int64)
    return _mean_distance(np.add.reduceat(confidence[order], starts) - hits, len(confidence))


def _mean_distance(deviations: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.abs(deviations).sum(axis=1) / n
    return distances
