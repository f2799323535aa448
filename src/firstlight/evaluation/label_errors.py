"""Find images whose labels are probably wrong, from what heads said that never saw them, and from their neighbors.

Two witnesses judge every label: logits from heads that never saw the image, and the labels of the images that are most
similar to it. They are averaged as logs and calibrated. Then the noise is estimated, as the chance that an image of
class j carries the label k, by expectation maximization, so that a class that is often labeled as another raises
suspicion there. Every label gets the mean of two log odds: as the witnesses see it, and as the noise explains it.

Source of the noise matrix: A. P. Dawid and A. M. Skene, Applied Statistics 1979, with one annotator.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.evaluation.calibration import fit_temperature

NEIGHBORS = 60  # at most; small sets have fewer
NEIGHBOR_TEMPERATURE = 0.07  # as in the evaluation of DINO (arXiv:2104.14294)
MAX_KNOWN = 10_000  # images that neighbors are looked for among; of larger sets, as many at even distances
SIMILARITIES_AT_ONCE = 2**24  # computed together; more would only take memory
EXPECTED_NOISE = 0.05  # of the labels of each class, before any was seen
NOISE_STEPS = 30  # of expectation maximization
FLAG_ABOVE = 0.85  # score, from which on a label is flagged (LOG.md)
MIN_IMAGES_OF_A_CLASS = 3  # a class of fewer cannot be told from noise, so its labels are not judged

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """How suspicious each label is.

    Attributes:
        score: 0 to 1, float64 `[n]`; above 0.5, another class fits better than the label.
        suggested: the class that fits best besides the label, int64 `[n]`.
        flagged: whether the evidence is strong, bool `[n]`.
    """

    score: Floats
    suggested: NDArray[np.int64]
    flagged: NDArray[np.bool_]

    @property
    def order(self) -> NDArray[np.int64]:
        """The images whose labels fit worse than another class, most suspicious first, int64 `[m]`."""
        order = np.argsort(-self.score, kind="stable")
        return order[self.score[order] > 0.5].astype(np.int64)


def find_label_errors(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    features: NDArray[np.floating] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> LabelErrors:
    """Return how suspicious each label is.

    Args:
        logits: of heads that saw neither the image nor a copy of it, `[n, K]`.
        labels: int64 `[n]`, each below K.
        features: `[n, D]`, for the neighbors; without them, the logits are the only witness.
        groups: int64 `[n]`; images of one group, such as copies, are no witnesses for each other.

    Raises:
        ValueError: if a logit or a feature is not a finite number.
    """
    for name, values in (("logits", logits), ("features", features)):
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"some {name} are not finite numbers, so labels cannot be checked with them")
    count, num_classes = logits.shape
    if not count:
        return LabelErrors(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool))
    wanted = torch.from_numpy(np.asarray(labels))
    logs = _calibrated(torch.from_numpy(np.array(logits, np.float64)), wanted)
    if features is not None and count > 1:
        neighbors = neighbor_log_probabilities(features, labels, num_classes, groups)
        logs = _calibrated((logs + neighbors) / 2, wanted)
    believed = logs.numpy()
    explained = _explained_by_noise(believed, labels)
    seen_margin, seen = _margins(believed, labels)
    explained_margin, _ = _margins(explained, labels)
    score = 1 / (1 + np.exp(np.clip((seen_margin + explained_margin) / 2, -500, 500)))
    too_small = np.bincount(labels, minlength=num_classes) < MIN_IMAGES_OF_A_CLASS
    score[too_small[labels]] = 0.0
    return LabelErrors(score, seen, score > FLAG_ABOVE)


def neighbor_log_probabilities(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    num_classes: int,
    groups: NDArray[np.int64] | None = None,
) -> Tensor:
    """Return the log probabilities of classes by the labels of the most similar other images, float64 `[n, K]`.

    Args:
        features: `[n, D]`.
        labels: int64 `[n]`.
        num_classes: K.
        groups: int64 `[n]`; images of one group do not count for each other.
    """
    count, answers = len(labels), torch.from_numpy(np.asarray(labels))
    group_of = torch.arange(count) if groups is None else torch.from_numpy(np.unique(groups, return_inverse=True)[1])
    known = torch.from_numpy(np.array(features, np.float32))
    known = torch.nn.functional.normalize(known - known.mean(dim=0), dim=1)
    some = torch.linspace(0, count - 1, min(count, MAX_KNOWN)).round().long()
    neighbors = min(NEIGHBORS, max(1, len(some) // (2 * num_classes)), len(some) - 1)
    votes = []
    step = max(1, SIMILARITIES_AT_ONCE // len(some))
    for start in range(0, count, step):
        similarity = known[start : start + step] @ known[some].T
        similarity.masked_fill_(group_of[start : start + step, None] == group_of[some], -torch.inf)
        nearest, rows = similarity.topk(neighbors, dim=1)
        weights = ((nearest - nearest[:, :1]) / NEIGHBOR_TEMPERATURE).exp().nan_to_num(0.0)  # the nearest has one vote
        votes.append(torch.zeros(len(similarity), num_classes).scatter_add_(1, answers[some][rows], weights))
    share = torch.bincount(answers, minlength=num_classes).double() / count
    counted = torch.cat(votes).double() + share.clamp_min(1 / (count + 1))  # and all classes together one more
    return (counted / counted.sum(dim=1, keepdim=True)).log()


def _calibrated(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log probabilities at the temperature at which they fit the labels best."""
    return (logits / fit_temperature(logits, labels)).log_softmax(dim=1)


def _explained_by_noise(believed: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return log probabilities of the true classes, given the labels and an estimate of their noise, `[n, K]`."""
    count, num_classes = believed.shape
    probabilities = np.exp(believed)
    prior = np.full((num_classes, num_classes), EXPECTED_NOISE / max(1, num_classes - 1))
    np.fill_diagonal(prior, 1 - EXPECTED_NOISE)
    noise = prior
    for _ in range(NOISE_STEPS):
        posterior = probabilities * noise[:, labels].T
        posterior /= posterior.sum(axis=1, keepdims=True)
        seen = np.zeros((num_classes, num_classes))
        np.add.at(seen, labels, posterior)  # by label and true class
        noise = seen.T + prior
        noise /= noise.sum(axis=1, keepdims=True)
    explained: Floats = believed + np.log(noise[:, labels].T)
    return explained


def _margins(logs: Floats, labels: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Return by how much the label beats the best other class, and that class; infinite if there is no other."""
    rows, others = np.arange(len(labels)), logs.copy()
    others[rows, labels] = -np.inf
    best = others.argmax(axis=1)
    return logs[rows, labels] - others[rows, best], best.astype(np.int64)
