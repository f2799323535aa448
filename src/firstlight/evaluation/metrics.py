"""Metrics: the scores of a classifier, as functions of logits or probabilities and labels, each with its interval.

Throughout, logits and probabilities are float `[n, K]`, labels are int64 `[n]` in 0..K-1, and a confusion is a
`Confusion` or a matrix of counts `[K, K]` with one row per true class. Of equal logits, the class that comes first
wins. Time grows with n x K, and memory beside the logits with n + K.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.evaluation.confusion import Confusion
from firstlight.evaluation.intervals import Estimate, bounded, mean, proportion
from firstlight.evaluation.reliability import ECE_BINS, calibration_error
from firstlight.evaluation.roc import areas
from firstlight.evaluation.softmax import Softmax, blocks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

INTERVALS = {
    "accuracy": "Wilson score",
    "top5": "Wilson score",
    "precision": "Wilson score, over the samples given this class",
    "recall": "Wilson score, over the samples of this class",
    "f1": "Wilson score of hits / (hits + false alarms + misses), carried over to F1",
    "macro_f1": "delta-method standard error over the confusion matrix, Wilson form",
    "log_loss": "mean +- 1.96 standard errors",
    "auc": "DeLong standard error (placement values), Wilson form",
    "ece": f"{ECE_BINS} equal-width bins; of the true error, to which drawn binomial noise adds: from 0 where that is "
    "all there is",
}
"""How the 95% interval of each number is made; stored with every evaluation."""


def accuracy(logits: Tensor, labels: Tensor) -> Estimate:
    """Return the fraction of samples whose highest logit is that of their label; Wilson interval.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.5, 1.5]])
        >>> print(accuracy(logits, labels=torch.tensor([0, 1, 1, 1])))
        0.750 [0.301, 0.954], n = 4
    """
    return top_k(logits, labels, k=1)


def top_k(logits: Tensor, labels: Tensor, k: int = 5) -> Estimate:
    """Return the fraction of samples whose label is among the `k` highest logits (or fewer, of few classes); Wilson.

    Equal logits rank in the order of the classes, so that a tie is not always a hit.
    """
    positions, hits = torch.arange(logits.shape[1], device=logits.device), 0
    for rows in blocks(*logits.shape):
        some, wanted = logits[rows], labels[rows, None]
        own = some.gather(1, wanted)
        ahead = ((some > own) | ((some == own) & (positions < wanted))).sum(dim=1)
        hits += int((ahead < k).sum())
    return proportion(hits, len(labels))


def log_loss(logits: Tensor, labels: Tensor) -> Estimate:
    """Return the mean negative log probability of the labels, in nats; mean ± 1.96 standard errors.

    It is calculated from logits in float64, so that no probability has to be clipped.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.5, 1.5]])
        >>> print(log_loss(logits, labels=torch.tensor([0, 1, 1, 1])))
        0.497 [0.000, 1.044], n = 4
    """
    return mean(Softmax.of(logits).log_loss(labels))


def confusion_matrix(predicted: Tensor, labels: Tensor, num_classes: int) -> Confusion:
    """Return the counts of samples by true and predicted class; `numpy.array` of it is `[K, K]`, a row per true class.

    Example:
        >>> import torch
        >>> confusion_matrix(torch.tensor([0, 1, 1]), labels=torch.tensor([0, 0, 1]), num_classes=2)[0]
        (1, 1)
    """
    return Confusion.count(labels.cpu().numpy(), predicted.cpu().numpy(), num_classes)


def precision(confusion: "Confusion | ArrayLike") -> tuple[Estimate, ...]:
    """Return the fraction of correct answers among the samples predicted as each class; Wilson interval."""
    counts = Confusion.of(confusion)
    return _proportions(counts.hits, counts.predicted_counts)


def recall(confusion: "Confusion | ArrayLike") -> tuple[Estimate, ...]:
    """Return the fraction of correct answers among the samples of each class; Wilson interval."""
    counts = Confusion.of(confusion)
    return _proportions(counts.hits, counts.true_counts)


def f1(confusion: "Confusion | ArrayLike") -> tuple[Estimate, ...]:
    """Return each class's F1, the harmonic mean of precision and recall; `n` = hits + false alarms + misses.

    F1 = 2J / (1 + J), where J = hits / n is a plain proportion, so Wilson's interval of J carries over exactly.
    """
    counts = Confusion.of(confusion)
    jaccards = _proportions(counts.hits, counts.predicted_counts + counts.true_counts - counts.hits)
    return tuple(Estimate(_f1(jaccard.value), _f1(jaccard.low), _f1(jaccard.high), jaccard.n) for jaccard in jaccards)


def macro_f1(confusion: "Confusion | ArrayLike") -> Estimate:
    """Return the mean F1 over the classes that occur in the labels or the predictions; delta-method interval.

    A sample's influence on the mean is `2 [correct] - F1(true) - F1(predicted)`, with each class's term divided by
    its labels + predictions. The squared influences add up to the variance.
    """
    counts = Confusion.of(confusion)
    sizes = counts.predicted_counts + counts.true_counts
    present = sizes > 0
    if not present.any():
        return Estimate(0.0, 0.0, 1.0, 0)
    # An absent class has no counts, so what it is divided by only has to be finite.
    weights = 1 / (np.maximum(sizes, 1) * present.sum())
    scores = 2 * counts.hits / np.maximum(sizes, 1)
    true, predicted, cells = np.array(counts.cells).T
    influence = np.where(true == predicted, 2 * weights[true], 0) - (scores * weights)[true]
    influence -= (scores * weights)[predicted]
    standard_error = math.sqrt((cells * influence**2).sum())
    return bounded(float(scores[present].mean()), standard_error, counts.total)


def roc_auc(probabilities: Tensor, labels: Tensor) -> tuple[Estimate | None, tuple[Estimate | None, ...]]:
    """Return the mean over the classes, and each class's area under its one-against-the-rest ROC curve.

    Ties count half. A class with no samples, or with all of them, has no curve: its area is None, and the mean leaves
    it out. The standard error adds up each sample's influence on the area (its placement value), so that of the mean
    takes into account that the classes share their samples.

    Example:
        >>> import torch
        >>> probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
        >>> mean_area, areas = roc_auc(probabilities, labels=torch.tensor([0, 1, 1, 0]))
        >>> print(mean_area)
        0.750 [0.256, 0.963], n = 4

    Source: E. R. DeLong et al., Comparing the areas under two or more correlated ROC curves, Biometrics 1988.
    """
    return areas((column.double().contiguous() for column in probabilities.T), labels)


def ece(probabilities: Tensor, labels: Tensor, bins: int = ECE_BINS) -> Estimate:
    """Return the expected calibration error: the distance of confidence from accuracy, averaged over equal bins.

    The confidence is the highest probability; bin b is (b / bins, (b + 1) / bins]. By chance alone it is above 0, see
    `reliability.Calibration`; the interval is of the true error, without that. It takes the confidences as given, and
    the number of correct answers in a bin as binomial, with two successes and two failures added to each bin, so that a
    bin without mistakes is not taken for certain.

    Example:
        >>> import torch
        >>> probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
        >>> print(ece(probabilities, labels=torch.tensor([0, 1, 1, 1])))
        0.350 [0.000, 0.671], n = 4

    Source: C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    confidence, predicted = probabilities.double().max(dim=1)
    return calibration_error(confidence, predicted == labels, bins)


def _f1(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)


def _proportions(hits: NDArray[np.int64], totals: NDArray[np.int64]) -> tuple[Estimate, ...]:
    return tuple(map(proportion, hits.tolist(), totals.tolist()))
