"""The scores of a classifier, as functions of (logits or probabilities, labels), each with its interval.

Everywhere: logits and probabilities are float [n, K], labels int64 [n] in 0..K-1, a confusion matrix is int64
[K, K] with a row for each true class. Equal logits are settled for the class that comes first.
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
    """Give the share of samples whose highest logit is their label's; Wilson interval."""
    return top_k(logits, labels, k=1)


def top_k(logits: Tensor, labels: Tensor, k: int = 5) -> Estimate:
    """Give the share of samples whose label is among the `k` highest logits (all classes if fewer); Wilson.

    A tie does not count as a hit for free: equal logits rank in the order of the classes.
    """
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    ahead = ((logits > own) | ((logits == own) & earlier)).sum(dim=1)
    return proportion(int((ahead < k).sum()), len(labels))


def log_loss(logits: Tensor, labels: Tensor) -> Estimate:
    """Give the mean negative log probability of the labels, in nats; mean ± 1.96 standard errors.

    Computed from logits in float64, so that a hopeless sample costs what it costs instead of a clipped value.
    """
    return mean(functional.cross_entropy(logits.double(), labels, reduction="none"))


def confusion_matrix(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Count samples by true class (row) and predicted class (column): int64 [K, K]."""
    cells = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def precision(confusion: Tensor) -> tuple[Estimate, ...]:
    """Give each class's share of right answers among the samples given that class; Wilson interval."""
    return _shares(confusion.diagonal(), confusion.sum(dim=0))


def recall(confusion: Tensor) -> tuple[Estimate, ...]:
    """Give each class's share of right answers among its own samples; Wilson interval."""
    return _shares(confusion.diagonal(), confusion.sum(dim=1))


def f1(confusion: Tensor) -> tuple[Estimate, ...]:
    """Give each class's F1, the harmonic mean of precision and recall, with `n` = hits + false alarms + misses.

    F1 = 2J / (1 + J) where J = hits / n is a plain proportion, so Wilson's interval of J carries over exactly.
    """
    hits = confusion.diagonal()
    jaccards = _shares(hits, confusion.sum(dim=0) + confusion.sum(dim=1) - hits)
    return tuple(Estimate(_f1(jaccard.value), _f1(jaccard.low), _f1(jaccard.high), jaccard.n) for jaccard in jaccards)


def macro_f1(confusion: Tensor) -> Estimate:
    """Give the mean F1 over the classes that occur in the labels or the predictions; delta-method interval.

    Each sample pulls the mean by its influence, `(2 [right] - F1(true) - F1(predicted))` with each class's
    term divided by its labels + predictions; the squared pulls add up to the variance.
    """
    counts = confusion.double()
    sizes = counts.sum(dim=0) + counts.sum(dim=1)
    present = sizes > 0
    if not present.any():
        return Estimate(0.0, 0.0, 1.0, 0)
    # A class that is absent has no counts: its weight must only be finite, it meets zeros alone.
    weights = torch.where(present, 1 / sizes, 0.0) / present.sum()
    scores = torch.where(present, 2 * counts.diagonal() / sizes, 0.0)
    pull = torch.diag(2 * weights) - (scores * weights)[:, None] - (scores * weights)[None, :]
    standard_error = (counts * pull**2).sum().sqrt().item()
    return bounded(scores[present].mean().item(), standard_error, int(confusion.sum()))


def roc_auc(probabilities: Tensor, labels: Tensor) -> tuple[Estimate | None, tuple[Estimate | None, ...]]:
    """Give the macro and each class's one-against-the-rest area under the ROC curve; ties count half.

    A class without samples, or with all of them, has no curve: its area is None and the mean leaves it out.
    The standard error adds up, sample by sample, how much each pulls the area (its placement value), which
    for the mean over classes also sees that the classes share their samples.

    Source: E. R. DeLong et al., Comparing the areas under two or more correlated ROC curves, Biometrics 1988.
    """
    areas: list[Estimate | None] = []
    total_pull = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)
    for index, scores in enumerate(probabilities.double().T):
        own = labels == index
        smaller = min(int(own.sum()), int((~own).sum()))
        if smaller == 0:
            areas.append(None)
            continue
        placement = _placements(scores, own)
        area = placement[own].mean().item()
        pull = (placement - area) / torch.where(own, own.sum(), (~own).sum())
        total_pull += pull
        areas.append(bounded(area, pull.square().sum().sqrt().item(), smaller))
    known = [area.value for area in areas if area is not None]
    if not known:
        return None, tuple(areas)
    standard_error = total_pull.square().sum().sqrt().item() / len(known)
    return bounded(sum(known) / len(known), standard_error, len(labels)), tuple(areas)


def ece(probabilities: Tensor, labels: Tensor, bins: int = ECE_BINS) -> Estimate:
    """Give the expected calibration error: how far confidence is from accuracy, averaged over equal bins.

    The confidence is the highest probability; bin b is (b / bins, (b + 1) / bins]. The interval takes the
    confidences as given and the number of right answers in a bin as binomial (its rate moved two successes
    and two failures towards a half, so that a bin without mistakes is not taken for a certainty).

    Source: C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    n = len(labels)
    if n == 0:
        return Estimate(0.0, 0.0, 1.0, 0)
    confidence, predicted = probabilities.double().cpu().max(dim=1)
    right = (predicted == labels.cpu()).double()
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    which = torch.bucketize(confidence, edges)

    def by_bin(values: Tensor) -> Tensor:
        return torch.bincount(which, weights=values, minlength=bins)

    size, hits = by_bin(torch.ones_like(right)), by_bin(right)
    rate = (hits + 2) / (size + 4)
    errors = (size * rate * (1 - rate)).sqrt() / n
    return absolute_sum((by_bin(confidence) - hits) / n, errors, n)


def _f1(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)


def _shares(hits: Tensor, totals: Tensor) -> tuple[Estimate, ...]:
    return tuple(proportion(*pair) for pair in zip(hits.tolist(), totals.tolist(), strict=True))


def _placements(scores: Tensor, own: Tensor) -> Tensor:
    """Give for each sample the share of the other side that it is rightly ordered against, float64 [n]."""
    placement = torch.empty_like(scores)
    mine, rest = scores[own].sort().values, scores[~own].sort().values
    for side, others, sign in ((own, rest, 1), (~own, -mine.flip(0), -1)):
        values = sign * scores[side]
        below = torch.searchsorted(others, values) + torch.searchsorted(others, values, right=True)
        placement[side] = below.double() / (2 * len(others))
    return placement
