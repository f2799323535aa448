"""The learning curve: how well linear heads do on growing parts of the training images, with a forecast for more."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from firstlight.evaluation.intervals import proportion
from firstlight.progress import phase
from firstlight.runs.record import CurvePoint, LearningCurve
from firstlight.runtime.seeds import derive_seed
from firstlight.training.transfer.exact_head import LinearHead, Problem

CURVE_FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
LAST_DOUBLING = (1 / 2,)  # all that is needed to tell whether more images would still help
DRAWS = 3  # random subsets of each size; one where there is only one size
FORECAST_FACTORS = (2, 4)  # times the number of images there are


@phase("estimating what more pictures would give")
def draw_curve(
    train: tuple[Sequence[NDArray[np.float32]], NDArray[np.int64]],
    valid: tuple[NDArray[np.float32], NDArray[np.int64]],
    head: LinearHead,
    class_weights: Tensor | None = None,
    *,
    seed: int = 0,
    fractions: Sequence[float] = CURVE_FRACTIONS,
) -> LearningCurve:
    """Fit heads on growing fractions of every class, and score them on the validation images.

    Args:
        train: features of each pass over the training images, float32 `[n, D]`, and labels int64 `[n]`.
        valid: features of the validation images, and labels.
        head: of all training images, which gives the last point; its strength is used for the others too.
        class_weights: float `[K]`, which it was fitted with.
        seed: of the random subsets.
        fractions: of the training images, below 1, ascending.
    """
    (passes, labels), (valid_features, valid_labels) = train, valid
    points = []
    for fraction in fractions:
        scores, count = [], 0
        for draw in range(DRAWS if len(fractions) > 1 else 1):
            rows = _subset_of_each_class(labels, fraction, derive_seed(seed, "curve", draw))
            features = np.concatenate([one_pass[rows] for one_pass in passes])
            problem = Problem(features, np.tile(labels[rows], len(passes)), len(head.bias), class_weights)
            scores.append(_score(problem.solve(head.strength), valid_features, valid_labels))
            count = len(rows)
        hits, log_losses = np.mean(scores, axis=0)
        # note: all draws are scored on the same validation images, so n is the number of those
        points.append(CurvePoint(count, proportion(round(hits), len(valid_labels)), float(log_losses)))
    hits, log_loss = _score(head, valid_features, valid_labels)
    points.append(CurvePoint(len(labels), proportion(round(hits), len(valid_labels)), log_loss))
    return LearningCurve(tuple(points), forecast([(point.images, point.accuracy.value) for point in points]))


def _score(head: LinearHead, features: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Return the number of right predictions and the mean log loss."""
    logits, wanted = head.logits(features), torch.from_numpy(labels)
    return float((logits.argmax(dim=1) == wanted).sum()), functional.cross_entropy(logits, wanted).item()


def forecast(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Extrapolate a curve to 2 and 4 times the images: error = rest + scale * images^-power, by least squares.

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
        for times in FORECAST_FACTORS
    )


def _subset_of_each_class(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """Draw this fraction of every class, at least one image; a smaller subset is part of a larger one."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))
