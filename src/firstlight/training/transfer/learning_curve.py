"""How many more images? The linear head on parts of the training images, and where that leads."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from firstlight.evaluation.intervals import Estimate, proportion
from firstlight.runtime.seeds import derive_seed
from firstlight.training.transfer.exact_head import LinearHead, Problem

CURVE_FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
HALF_ONLY = (1 / 2,)
DRAWS = 3  # parts drawn of each size; one where there is only one size
FORECAST = (2, 4)  # times as many images as there are


@dataclass(frozen=True)
class Point:
    """What so many training images gave: accuracy and log loss (nats) on the validation images."""

    images: int
    accuracy: Estimate
    log_loss: float


@dataclass(frozen=True)
class LearningCurve:
    """Validation accuracy against the number of training images.

    Attributes:
        points: what was measured, fewest images first.
        forecast: images that there are not yet, and the accuracy to expect; a law of powers through the points.
    """

    points: tuple[Point, ...]
    forecast: tuple[tuple[int, float], ...]

    @property
    def last_drop(self) -> float:
        """By what share the log loss fell with the last of the images."""
        return 1 - self.points[-1].log_loss / self.points[-2].log_loss

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` shows."""
        return {
            "points": [asdict(point) for point in self.points],
            "forecast": [{"pictures": count, "accuracy": accuracy} for count, accuracy in self.forecast],
        }


def draw_curve(
    train: tuple[Sequence[NDArray[np.float32]], NDArray[np.int64]],
    valid: tuple[NDArray[np.float32], NDArray[np.int64]],
    head: LinearHead,
    class_weights: Tensor | None = None,
    *,
    seed: int = 0,
    fractions: Sequence[float] = CURVE_FRACTIONS,
) -> LearningCurve:
    """Fit heads on growing parts of every class, and score them on the validation images.

    Args:
        train: views of the training images, each float32 `[n, D]`, and labels int64 `[n]`.
        valid: features of the validation images, and labels.
        head: the one of the whole, which gives the last point; its strength serves for the parts too.
        class_weights: float `[K]`, by which it was fitted.
        seed: of the parts.
        shares: the parts' sizes below 1, ascending.
    """
    (views, labels), (seen_valid, wanted) = train, valid
    points = []
    for part in fractions:
        scores, images = [], 0
        for draw in range(DRAWS if len(fractions) > 1 else 1):
            rows = _part_of_each_class(labels, part, derive_seed(seed, "curve", draw))
            seen = np.concatenate([view[rows] for view in views])
            problem = Problem(seen, np.tile(labels[rows], len(views)), len(head.bias), class_weights)
            scores.append(_score(problem.solve(head.strength), seen_valid, wanted))
            images = len(rows)
        hits, log_losses = np.mean(scores, axis=0)
        # note: the draws share their validation images, so together they are worth the images of one
        points.append(Point(images, proportion(round(hits), len(wanted)), float(log_losses)))
    hits, log_loss = _score(head, seen_valid, wanted)
    points.append(Point(len(labels), proportion(round(hits), len(wanted)), log_loss))
    return LearningCurve(tuple(points), forecast([(point.images, point.accuracy.value) for point in points]))


def _score(head: LinearHead, seen: NDArray[np.float32], wanted: NDArray[np.int64]) -> tuple[float, float]:
    """Give the number of right answers and the mean log loss."""
    logits, labels = head.logits(seen), torch.from_numpy(wanted)
    return float((logits.argmax(dim=1) == labels).sum()), functional.cross_entropy(logits, labels).item()


def forecast(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Continue a curve to 2 and 4 times the images: error = rest + scale * images^-power, least squares.

    Source: J. Hestness et al., Deep learning scaling is predictable, empirically, arXiv:1712.00409.
    """
    counts = np.array([count for count, _ in points], float)
    errors = np.array([1 - accuracy for _, accuracy in points])
    best: tuple[float, float, float, float] | None = None
    for power in np.linspace(0.05, 1.5, 30):
        falling = counts**-power
        for rest in np.linspace(0, errors.min(), 21):
            scale = float(falling @ (errors - rest) / (falling @ falling))
            miss = float(((rest + scale * falling - errors) ** 2).sum())
            if scale >= 0 and (best is None or miss < best[0]):
                best = miss, float(rest), scale, float(power)
    assert best is not None
    _, rest, scale, power = best
    here = rest + scale * counts[-1] ** -power
    return tuple(
        (
            round(times * counts[-1]),
            float(np.clip(1 - errors[-1] + here - (rest + scale * (times * counts[-1]) ** -power), 0, 1)),
        )
        for times in FORECAST
    )


def _part_of_each_class(labels: NDArray[np.int64], part: float, seed: int) -> NDArray[np.int64]:
    """Draw this share of every class, at least one image; a smaller share is a part of a larger one."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: max(1, round(part * len(rows)))])
    return np.sort(np.concatenate(chosen))
