"""Fit the score that tells a stranger: an image that is unlike anything in training."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv
from torch import Tensor
from torch.nn import functional

from firstlight.errors import DataError
from firstlight.models.strangeness import (
    MAX_DIRECTION_BYTES,
    MAX_DIRECTIONS,
    MAX_REFERENCE_BYTES,
    MAX_REFERENCES,
    Scale,
    Strangeness,
    combined,
    neighbor_distances,
    residuals,
    undecided,
)
from firstlight.runtime.seeds import generator

NEIGHBOR = 3
KEPT = 0.95  # of known images
FOLDS = 4
EXPLAINED = 0.95  # of the variance of the pixels, by the directions
LEAST_SPREAD = 1e-6
CLEARLY_MORE = 0.05  # of the outliers


class Seen(NamedTuple):
    """What a network says about n images, and the images on a coarse grid.

    Attributes:
        features: float32 `[n, D]`.
        logits: float32 `[n, K]`.
        pixels: float32 `[n, P]`; see `strangeness.coarse`.
    """

    features: Tensor
    logits: Tensor
    pixels: Tensor


def fit_strangeness(
    train: Seen, labels: NDArray[np.int64], held_out: Seen, outliers: Seen, *, learned: bool, seed: int = 0
) -> Strangeness:
    """Return a score of strangeness whose threshold keeps 95% of images like these.

    The threshold comes from images that neither the network nor the score has learned from: those that were held out,
    and, if the network has not learned from them, each training image by the other ones.

    Args:
        train: training images, at least one. Unless the network has learned from them, their logits are those of a head
            that has not.
        labels: theirs, int64 `[n]`.
        held_out: images that nothing has learned from; there may be none.
        outliers: images that should be refused, by which it is decided whether pixels count; there may be none.
        learned: whether the network or its head has learned from the training images, so that their features or logits
            are not like those of other images.
        seed: of the choice of references.

    Raises:
        DataError: if a feature or a logit is not finite.
    """
    for some in (train, held_out):
        if not (some.features.isfinite().all() and some.logits.isfinite().all()):
            raise DataError("the features of the network are not finite, so it cannot tell strangers; train it again")
    chosen = choose_references(labels, reference_count(train.features.shape[1]), seed)
    references = functional.normalize(train.features[chosen], dim=1).half().float()
    origin = train.features.double().mean(dim=0).half().float()
    neighbor = min(NEIGHBOR, len(chosen))
    center, directions = main_directions(train.pixels)

    def distances(seen: Seen) -> dict[str, Tensor]:
        return {
            "head": undecided(seen.features - origin, seen.logits),
            "features": neighbor_distances(seen.features, references, neighbor),
            "pixels": residuals(seen.pixels, center, directions),
        }

    parts = [distances(held_out)] if len(held_out.features) else []
    if not (learned and parts):
        own = distances(train)
        own["features"] = leave_one_out(train.features, references, chosen, neighbor)
        own["pixels"] = cross_fitted(train.pixels, seed)
        parts.append(own)
    known = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    scales = {name: scale_of(values) for name, values in known.items()}
    without = {name: scale for name, scale in scales.items() if name != "pixels"}
    if not pixels_help(known, distances(outliers), scales, without):
        scales, center, directions = without, center[:0], directions[:0, :0]
    threshold, kept = keeping(combined(known, scales))
    return Strangeness(
        references=references,
        neighbor=neighbor,
        origin=origin,
        center=center,
        directions=directions,
        scales=scales,
        threshold=threshold,
        kept=kept,
    )


def pixels_help(
    known: dict[str, Tensor], outliers: dict[str, Tensor], scales: dict[str, Scale], without: dict[str, Scale]
) -> bool:
    """Return whether clearly more outliers are refused with the distance of pixels than without it."""
    if not len(outliers["head"]):
        return False
    refused, refused_without = (
        (combined(outliers, some) > keeping(combined(known, some))[0]).double().mean().item()
        for some in (scales, without)
    )
    return refused >= refused_without + CLEARLY_MORE


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
    fitting = MAX_DIRECTION_BYTES // (2 * pixels.shape[1])
    count = min(MAX_DIRECTIONS, fitting, len(pixels) // 4, 1 + int((share < EXPLAINED).sum()))
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
    low, high = betaincinv(rank, n + 1 - rank, [0.025, 0.975])
    return scores.sort().values[rank - 1].item(), (rank / (n + 1), float(low), float(high), n)
