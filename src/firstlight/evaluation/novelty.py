"""Fit the score that tells a stranger: an image that is unlike anything in training."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta
from torch import Tensor

from firstlight.errors import DataError
from firstlight.models.strangeness import (
    MAX_DIRECTIONS,
    MAX_REFERENCE_BYTES,
    MAX_REFERENCES,
    Scale,
    Strangeness,
    neighbor_distances,
    residuals,
)
from firstlight.runtime.seeds import generator

NEIGHBOR = 10
KEPT = 0.95  # of known images
FOLDS = 4
EXPLAINED = 0.95  # of the variance of the pixels, by the directions
LEAST_SPREAD = 1e-6


class Known(NamedTuple):
    """Images that the model should know.

    Attributes:
        features: float32 `[n, D]`.
        pixels: coarse images, float32 `[n, P]`; see `strangeness.coarse`.
    """

    features: NDArray[np.float32]
    pixels: NDArray[np.float32]


def fit_strangeness(
    train: Known, labels: NDArray[np.int64], held_out: Known, *, learned: bool, seed: int = 0
) -> Strangeness:
    """Return a score of strangeness whose threshold keeps 95% of images like these.

    The threshold comes from images that the score has not seen: those that were held out, and each training image by
    the other ones, unless the network has learned their features.

    Args:
        train: training images, at least one.
        labels: theirs, int64 `[n]`.
        held_out: images that neither the network nor the score has seen; there may be none.
        learned: whether the network was trained on the training images, so that their features are not like those of
            other images.
        seed: of the choice of references.

    Raises:
        DataError: if a feature is not finite.
    """
    for known in (train, held_out):
        if not np.isfinite(known.features).all():
            raise DataError("the network's features are not finite, so it cannot tell strangers; train it again")
    features, pixels = torch.from_numpy(np.array(train.features)), torch.from_numpy(np.array(train.pixels))
    chosen = choose_references(labels, reference_count(features.shape[1]), seed)
    references = torch.nn.functional.normalize(features[chosen], dim=1).half().float()
    neighbor = min(NEIGHBOR, len(chosen))
    center, directions = main_directions(pixels)
    parts: dict[str, list[Tensor]] = {"features": [], "pixels": []}
    if len(held_out.features):
        parts["features"].append(neighbor_distances(torch.from_numpy(held_out.features), references, neighbor))
        parts["pixels"].append(residuals(torch.from_numpy(held_out.pixels), center, directions))
    if not learned or not len(held_out.features):
        parts["features"].append(leave_one_out(features, references, chosen, neighbor))
        parts["pixels"].append(cross_fitted(pixels, seed))
    distances = {name: torch.cat(values) for name, values in parts.items()}
    scales = {name: scale_of(values) for name, values in distances.items()}
    scores = torch.stack([(distances[name] - scale.center) / scale.spread for name, scale in scales.items()]).amax(0)
    threshold, kept = keeping(scores)
    return Strangeness(
        references=references,
        neighbor=neighbor,
        center=center,
        directions=directions,
        scales=scales,
        threshold=threshold,
        kept=kept,
    )


def reference_count(num_features: int) -> int:
    """Return how many references of so many features fit into a model file."""
    return max(1, min(MAX_REFERENCES, MAX_REFERENCE_BYTES // (2 * num_features)))


def choose_references(labels: NDArray[np.int64], count: int, seed: int) -> Tensor:
    """Return at random which images are references, int64 `[M]`: about as many from each class, ascending.

    With more classes than references, the classes are drawn too.
    """
    shuffled = torch.randperm(len(labels), generator=generator(seed, "references")).numpy()
    turn = np.zeros(len(labels), np.int64)  # how many images of the same class were drawn before
    for label in np.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        turn[rows] = np.arange(len(rows))
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return torch.from_numpy(np.sort(order[:count]))


def leave_one_out(features: Tensor, references: Tensor, chosen: Tensor, neighbor: int) -> Tensor:
    """Return the distance of each training image to its `neighbor`-th nearest reference other than itself."""
    distances = neighbor_distances(features, references, neighbor)
    if len(references) > neighbor:
        distances[chosen] = neighbor_distances(features[chosen], references, neighbor + 1)
    return distances


def main_directions(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean `[P]` of pixels `[n, P]` and the directions `[Q, P]` that explain most of their variance."""
    center = pixels.double().mean(dim=0)
    off = pixels.double() - center
    values, vectors = torch.linalg.eigh(off.T @ off / max(1, len(pixels)))
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    share = values.cumsum(0) / values.sum().clamp_min(1e-12)
    count = min(MAX_DIRECTIONS, len(pixels) // 4, 1 + int((share < EXPLAINED).sum()))
    return center.half().float(), vectors[:, :count].T.half().float()


def cross_fitted(pixels: Tensor, seed: int) -> Tensor:
    """Return how far each image is from what directions can draw that were fitted without it."""
    fold = torch.randperm(len(pixels), generator=generator(seed, "pixel folds")) % FOLDS
    found = torch.zeros(len(pixels))
    for number in range(min(FOLDS, len(pixels))):
        others = pixels[fold != number] if (fold != number).any() else pixels
        found[fold == number] = residuals(pixels[fold == number], *main_directions(others))
    return found


def scale_of(distances: Tensor) -> Scale:
    """Return the scale of the distances of known images."""
    center, high = distances.double().quantile(torch.tensor([0.5, KEPT], dtype=torch.float64)).tolist()
    return Scale(center, max(high - center, LEAST_SPREAD))


def keeping(scores: Tensor) -> tuple[float, tuple[float, float, float, int]]:
    """Return the threshold that keeps 95% of images like these, and how many it keeps: value, low, high, and n.

    The r-th smallest of n scores is at least as large as the next one with a probability that has the distribution
    Beta(r, n + 1 - r), whatever the scores are. With fewer than 19 images, the largest score is the threshold.

    Source: S. S. Wilks, Determination of sample sizes for setting tolerance limits, Annals of Mathematical Statistics
    1941.
    """
    n = len(scores)
    rank = min(n, int(np.ceil(KEPT * (n + 1))))
    low, high = beta.ppf([0.025, 0.975], rank, n + 1 - rank)
    return scores.sort().values[rank - 1].item(), (rank / (n + 1), float(low), float(high), n)
