"""The rungs of the ladder below a network, and whether one more is worth climbing.

Each rung answers the validation images; the next is worth it if it is better on the same images by more than the
luck of which images they were.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.evaluation.intervals import Estimate, proportion
from firstlight.runtime.seeds import derive_seed

DRAWS = 10_000
WORTHWHILE_PROBABILITY = 0.9  # of the draws in which the next rung is better, for it to be worth its time
NEIGHBORS = (1, 3, 5, 10, 20)
LEFT_OUT = 2000  # training images that choose how many neighbors vote, each without itself
AT_ONCE = 2**25  # likenesses of images that are looked at together; more would take memory only
SHARPNESS = 0.07  # temperature of the neighbors' votes, as DINO's evaluation has it (arXiv:2104.14294)


@dataclass(frozen=True)
class Rung:
    """One way to classify, and how well it does on the validation images.

    Attributes:
        name: for people.
        accuracy: on the validation images.
        seconds: what it took beyond the rungs below it.
        hits: which validation images it got right, bool `[n]`.
    """

    name: str
    accuracy: Estimate
    seconds: float
    hits: NDArray[np.bool_] = field(repr=False, compare=False)

    @classmethod
    def of(cls, name: str, answers: NDArray[np.int64], labels: NDArray[np.int64], seconds: float) -> "Rung":
        """Score answers int64 `[n]` against labels int64 `[n]`."""
        hits = np.asarray(answers == labels)
        return cls(name, proportion(int(hits.sum()), len(hits)), round(seconds, 3), hits)

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` shows."""
        return {"rung": self.name, "accuracy": asdict(self.accuracy), "seconds": self.seconds}


def chance_better(hits: NDArray[np.bool_], than: NDArray[np.bool_], seed: int = 0) -> float:
    """Tell how often the first answers beat the second when the images are drawn anew: a paired bootstrap.

    Args:
        hits: of one rung, bool `[n]`.
        than: of another, on the same images.
        seed: of the draws.

    Returns:
        a share of the draws, ties counted half; 0.5 if the two are right on the same images.
    """
    wins, losses, count = int((hits & ~than).sum()), int((than & ~hits).sum()), len(hits)
    fractions = (wins / count, losses / count, 1 - (wins + losses) / count)
    drawn = np.random.default_rng(derive_seed(seed, "bootstrap")).multinomial(count, fractions, DRAWS)
    difference = drawn[:, 0] - drawn[:, 1]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def majority(train_labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Answer the most frequent class of the training images, `count` times."""
    return np.full(count, np.bincount(train_labels).argmax(), np.int64)


def nearest_neighbors(
    train: NDArray[np.float32], labels: NDArray[np.int64], others: NDArray[np.float32], num_classes: int
) -> NDArray[np.int64]:
    """Let the training images that look most alike vote; how many of them, the training images themselves decide.

    Args:
        train: features float32 `[n, D]`.
        labels: int64 `[n]`.
        others: features of the images to answer, float32 `[m, D]`.
        num_classes: K.

    Returns:
        answers int64 `[m]`.
    """
    known, answers = _directions(train), torch.from_numpy(np.asarray(labels))
    voters = [count for count in NEIGHBORS if count < len(labels)] or [1]
    asked = torch.arange(0, len(labels), max(1, len(labels) // LEFT_OUT))
    itself = _votes(known[asked], known, answers, num_classes=num_classes, voters=voters, without=asked)
    right = [int((votes.argmax(dim=1) == answers[asked]).sum()) for votes in itself]
    chosen = voters[int(np.argmax(right))]
    (votes,) = _votes(_directions(others), known, answers, num_classes=num_classes, voters=[chosen])
    return votes.argmax(dim=1).numpy()


def _directions(features: NDArray[np.float32]) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(np.array(features)), dim=1)


def _votes(
    asked: Tensor,
    known: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    voters: list[int],
    without: Tensor | None = None,
) -> list[Tensor]:
    """Give the votes float `[m, K]` for each number of voters; `without` are the rows of the asked among the known."""
    parts: list[list[Tensor]] = [[] for _ in voters]
    step = max(1, AT_ONCE // len(known))
    for start in range(0, len(asked), step):
        likeness = asked[start : start + step] @ known.T
        if without is not None:
            own = without[start : start + step]
            likeness[torch.arange(len(own)), own] = -torch.inf
        nearest, rows = likeness.topk(min(max(voters), likeness.shape[1]), dim=1)
        weight = (nearest / SHARPNESS).exp()
        for part, count in zip(parts, voters, strict=True):
            votes = torch.zeros(len(likeness), num_classes)
            part.append(votes.scatter_add_(1, labels[rows[:, :count]], weight[:, :count]))
    return [torch.cat(part) for part in parts]
