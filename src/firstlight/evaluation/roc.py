"""Areas under ROC curves: how well each class is separated from the rest, with DeLong's standard error."""

from collections.abc import Iterable

import torch
from torch import Tensor

from firstlight.evaluation.intervals import Estimate, bounded


def areas(columns: Iterable[Tensor], labels: Tensor) -> tuple[Estimate | None, tuple[Estimate | None, ...]]:
    """Return the mean over the classes, and each class's area under its one-against-the-rest ROC curve.

    Args:
        columns: the scores of each class in turn, float64 `[n]`.
        labels: int64 `[n]` in 0..K-1.

    Returns:
        None for a class with no samples, or with all of them, and for a mean of no classes.

    Source: E. R. DeLong et al., Comparing the areas under two or more correlated ROC curves, Biometrics 1988.
    """
    found: list[Estimate | None] = []
    by_label = labels.argsort(stable=True)
    sorted_labels = labels[by_label].contiguous()
    influences = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)
    for index, scores in enumerate(columns):
        start, stop = torch.searchsorted(sorted_labels, torch.tensor([index, index + 1], device=labels.device)).tolist()
        own, rest = stop - start, len(labels) - (stop - start)
        if min(own, rest) == 0:
            found.append(None)
            continue
        rows = by_label[start:stop]
        placement = _placements(scores, rows)
        area = placement[rows].mean().item()
        influence = (placement - area) / rest
        influence[rows] *= rest / own
        influences += influence
        found.append(bounded(area, influence.square().sum().sqrt().item(), min(own, rest)))
    known = [area.value for area in found if area is not None]
    if not known:
        return None, tuple(found)
    standard_error = influences.square().sum().sqrt().item() / len(known)
    return bounded(sum(known) / len(known), standard_error, len(labels)), tuple(found)


def _placements(scores: Tensor, rows: Tensor) -> Tensor:
    """Return for each sample the fraction of the other side that it is correctly ordered against, float64 `[n]`.

    Ties count half. Only the scores of the class's own samples are sorted: of many classes, each has few.

    Args:
        scores: of one class, float64 `[n]`.
        rows: the samples of that class, int64 `[m]`, 0 < m < n.
    """
    mine = scores[rows].sort().values
    below = torch.searchsorted(mine, scores)  # how many of the class's own samples score lower
    not_above = torch.searchsorted(mine, scores, right=True)
    own, rest = len(rows), len(scores) - len(rows)
    placement = (2 * own - below - not_above).double() / (2 * own)
    # Scores below one of the class's own have no more of its own at or below them than that one has below it.
    lower = torch.bincount(not_above, minlength=own + 1).cumsum(dim=0)[below[rows]] - below[rows]
    not_higher = torch.bincount(below, minlength=own + 1).cumsum(dim=0)[below[rows]] - not_above[rows]
    placement[rows] = (lower + not_higher).double() / (2 * rest)
    return placement
