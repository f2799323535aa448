"""Metrics: the scores of a classifier, as functions of logits or probabilities and labels, each with its interval.

Throughout, logits and probabilities are float `[n, K]`, labels are int64 `[n]` in 0..K-1, and a confusion matrix is
int64 `[K, K]` with one row per true class. Of equal logits, the class that comes first wins.
"""

import torch
from torch import Tensor
from torch.nn import functional

from firstlight.evaluation.intervals import Estimate, absolute_sum, bounded, mean, proportion

ECE_BINS = 15

INTERVALS = {
    "accuracy": "Wilson score",
    "top5": "Wilson score",
    "precision": "Wilson score, over the samples given this class",
    "recall": "Wilson score, over the samples of this class",
    "f1": "Wilson score of hits / (hits + false alarms + misses), carried over to F1",
    "macro_f1": "delta-method standard error over the confusion matrix, Wilson form",
    "log_loss": "mean +- 1.96 standard errors",
    "auc": "DeLong standard error (placement values), Wilson form",
    "ece": f"{ECE_BINS} equal-width bins with binomial noise; drawn noise below, standard error above",
}
"""How the 95 % interval of each number is made; stored with every evaluation."""


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
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    ahead = ((logits > own) | ((logits == own) & earlier)).sum(dim=1)
    return proportion(int((ahead < k).sum()), len(labels))


def log_loss(logits: Tensor, labels: Tensor) -> Estimate:
    """Return the mean negative log probability of the labels, in nats; mean ± 1.96 standard errors.

    It is calculated from logits in float64, so that no probability has to be clipped.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.5, 1.5]])
        >>> print(log_loss(logits, labels=torch.tensor([0, 1, 1, 1])))
        0.497 [0.000, 1.044], n = 4
    """
    return mean(functional.cross_entropy(logits.double(), labels, reduction="none"))


def confusion_matrix(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return the counts of samples by true class (row) and predicted class (column), int64 `[K, K]`."""
    cells = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def precision(confusion: Tensor) -> tuple[Estimate, ...]:
    """Return the fraction of correct answers among the samples predicted as each class; Wilson interval."""
    return _proportions(confusion.diagonal(), confusion.sum(dim=0))


def recall(confusion: Tensor) -> tuple[Estimate, ...]:
    """Return the fraction of correct answers among the samples of each class; Wilson interval."""
    return _proportions(confusion.diagonal(), confusion.sum(dim=1))


def f1(confusion: Tensor) -> tuple[Estimate, ...]:
    """Return each class's F1, the harmonic mean of precision and recall; `n` = hits + false alarms + misses.

    F1 = 2J / (1 + J), where J = hits / n is a plain proportion, so Wilson's interval of J carries over exactly.
    """
    hits = confusion.diagonal()
    jaccards = _proportions(hits, confusion.sum(dim=0) + confusion.sum(dim=1) - hits)
    return tuple(Estimate(_f1(jaccard.value), _f1(jaccard.low), _f1(jaccard.high), jaccard.n) for jaccard in jaccards)


def macro_f1(confusion: Tensor) -> Estimate:
    """Return the mean F1 over the classes that occur in the labels or the predictions; delta-method interval.

    A sample's influence on the mean is `2 [correct] - F1(true) - F1(predicted)`, with each class's term divided by
    its labels + predictions. The squared influences add up to the variance.
    """
    counts = confusion.double()
    sizes = counts.sum(dim=0) + counts.sum(dim=1)
    present = sizes > 0
    if not present.any():
        return Estimate(0.0, 0.0, 1.0, 0)
    # An absent class has no counts, so its weight only has to be finite.
    weights = torch.where(present, 1 / sizes, 0.0) / present.sum()
    scores = torch.where(present, 2 * counts.diagonal() / sizes, 0.0)
    influence = torch.diag(2 * weights) - (scores * weights)[:, None] - (scores * weights)[None, :]
    standard_error = (counts * influence**2).sum().sqrt().item()
    return bounded(scores[present].mean().item(), standard_error, int(confusion.sum()))


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
    areas: list[Estimate | None] = []
    total_influence = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)
    for index, scores in enumerate(probabilities.double().T):
        own = labels == index
        smaller = min(int(own.sum()), int((~own).sum()))
        if smaller == 0:
            areas.append(None)
            continue
        placement = _placements(scores, own)
        area = placement[own].mean().item()
        influence = (placement - area) / torch.where(own, own.sum(), (~own).sum())
        total_influence += influence
        areas.append(bounded(area, influence.square().sum().sqrt().item(), smaller))
    known = [area.value for area in areas if area is not None]
    if not known:
        return None, tuple(areas)
    standard_error = total_influence.square().sum().sqrt().item() / len(known)
    return bounded(sum(known) / len(known), standard_error, len(labels)), tuple(areas)


def ece(probabilities: Tensor, labels: Tensor, bins: int = ECE_BINS) -> Estimate:
    """Return the expected calibration error: the distance of confidence from accuracy, averaged over equal bins.

    The confidence is the highest probability; bin b is (b / bins, (b + 1) / bins]. The interval takes the confidences
    as given, and the number of correct answers in a bin as binomial. Two successes and two failures are added to each
    bin, so that a bin without mistakes is not taken for certain.

    Example:
        >>> import torch
        >>> probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
        >>> print(ece(probabilities, labels=torch.tensor([0, 1, 1, 1])))
        0.350 [0.000, 0.830], n = 4

    Source: C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    n = len(labels)
    if n == 0:
        return Estimate(0.0, 0.0, 1.0, 0)
    confidence, predicted = probabilities.double().cpu().max(dim=1)
    correct = (predicted == labels.cpu()).double()
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    bin_of = torch.bucketize(confidence, edges)

    def by_bin(values: Tensor) -> Tensor:
        return torch.bincount(bin_of, weights=values, minlength=bins)

    size, hits = by_bin(torch.ones_like(correct)), by_bin(correct)
    rate = (hits + 2) / (size + 4)
    errors = (size * rate * (1 - rate)).sqrt() / n
    return absolute_sum((by_bin(confidence) - hits) / n, errors, n)


def _f1(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)


def _proportions(hits: Tensor, totals: Tensor) -> tuple[Estimate, ...]:
    return tuple(proportion(*pair) for pair in zip(hits.tolist(), totals.tolist(), strict=True))


def _placements(scores: Tensor, own: Tensor) -> Tensor:
    """Return for each sample the fraction of the other side that it is correctly ordered against, float64 `[n]`."""
    placement = torch.empty_like(scores)
    mine, rest = scores[own].sort().values, scores[~own].sort().values
    for side, others, sign in ((own, rest, 1), (~own, -mine.flip(0), -1)):
        values = sign * scores[side]
        below = torch.searchsorted(others, values) + torch.searchsorted(others, values, right=True)
        placement[side] = below.double() / (2 * len(others))
    return placement
