"""The baselines that fine-tuning has to beat: the majority class and nearest neighbors."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.evaluation.intervals import proportion
from firstlight.progress import phase
from firstlight.runs.record import Rung

CLEARLY_BETTER = 0.9  # of the draws in which a rung has to beat the one before it, for the next one to be tried
NEIGHBOR_COUNTS = (1, 3, 5, 10, 20)
MAX_LEFT_OUT = 2000  # training images that choose the number of neighbors, each left out in turn
SIMILARITIES_AT_ONCE = 2**25  # computed together; more would only take memory
VOTE_TEMPERATURE = 0.07  # as in the evaluation of DINO (arXiv:2104.14294)


@dataclass(frozen=True)
class ScoredRung:
    """A rung of the ladder, and which validation images it got right, bool `[n]`."""

    rung: Rung
    hits: NDArray[np.bool_] = field(repr=False, compare=False)

    @classmethod
    def of(cls, name: str, predicted: NDArray[np.int64], labels: NDArray[np.int64], seconds: float) -> "ScoredRung":
        """Score predicted classes int64 `[n]` against labels int64 `[n]`."""
        hits = np.asarray(predicted == labels)
        return cls(Rung(name, proportion(int(hits.sum()), len(hits)), round(seconds, 3)), hits)


def majority(train_labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the most frequent class of the training images, `count` times."""
    return np.full(count, np.bincount(train_labels).argmax(), np.int64)


@phase("comparing with nearest neighbors")
def nearest_neighbors(
    train: NDArray[np.float32], labels: NDArray[np.int64], others: NDArray[np.float32], num_classes: int
) -> NDArray[np.int64]:
    """Return the classes that the most similar training images vote for; training images left out choose how many vote.

    Args:
        train: features float32 `[n, D]`.
        labels: int64 `[n]`.
        others: features of the images to classify, float32 `[m, D]`.
        num_classes: K.

    Returns:
        predicted classes int64 `[m]`.
    """
    known, answers = _normalized(train), torch.from_numpy(np.asarray(labels))
    neighbor_counts = [count for count in NEIGHBOR_COUNTS if count < len(labels)] or [1]
    queries = torch.arange(0, len(labels), max(1, len(labels) // MAX_LEFT_OUT))
    itself = _votes(
        known[queries], known, answers, num_classes=num_classes, neighbor_counts=neighbor_counts, without=queries
    )
    right = [int((votes.argmax(dim=1) == answers[queries]).sum()) for votes in itself]
    chosen = neighbor_counts[int(np.argmax(right))]
    (votes,) = _votes(_normalized(others), known, answers, num_classes=num_classes, neighbor_counts=[chosen])
    return votes.argmax(dim=1).numpy()


def _normalized(features: NDArray[np.float32]) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(np.array(features)), dim=1)


def _votes(
    queries: Tensor,
    known: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    neighbor_counts: list[int],
    without: Tensor | None = None,
) -> list[Tensor]:
    """Return votes, float `[m, K]`, for each number of neighbors; `without` are the rows of the queries in `known`."""
    parts: list[list[Tensor]] = [[] for _ in neighbor_counts]
    step = max(1, SIMILARITIES_AT_ONCE // len(known))
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ known.T
        if without is not None:
            own = without[start : start + step]
            similarity[torch.arange(len(own)), own] = -torch.inf
        nearest, rows = similarity.topk(min(max(neighbor_counts), similarity.shape[1]), dim=1)
        weight = (nearest / VOTE_TEMPERATURE).exp()
        for part, count in zip(parts, neighbor_counts, strict=True):
            votes = torch.zeros(len(similarity), num_classes)
            part.append(votes.scatter_add_(1, labels[rows[:, :count]], weight[:, :count]))
    return [torch.cat(part) for part in parts]
