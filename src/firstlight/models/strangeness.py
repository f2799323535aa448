"""How strange an image is to a model: how undecided the head is, and how far the image is from those of training.

Three distances are measured, each on a scale on which half of the known images are below 0 and 95% are below 1:

- `head`: the largest logit, as a cosine; low where the features point to no class. It tells strangers that look much
  like the known classes.
- `features`: the cosine distance to the third nearest of a few training images.
- `pixels`: what the main directions of variation of the training images cannot draw, on a coarse grid. It tells
  strangers to networks whose features say little about what they were not trained on, such as the mlp, and is left out
  where it would not help.

The strangeness of an image is its `head`, plus a multiple of how much the larger one of the other two is above 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

MAX_REFERENCES = 200
MAX_REFERENCE_BYTES = 512_000  # 200 images of 1,280 features in float16
GRID = 16  # pixels a side of the coarse images; smaller images stay as they are
MAX_DIRECTIONS = 64
MAX_DIRECTION_BYTES = 80_000  # 52 directions of 16 by 16 colored pixels in float16
ORDINARY = 1.0  # distances up to this one do not count; one known image in twenty is farther
FAR_WEIGHT = 8.0  # of what distances exceed that by
SHORTEST = 1e-6  # features of this length and less count as this long
FARTHEST = 2.0  # the cosine distance of opposite directions, and the one of features that are no numbers
ALWAYS = {"head", "features"}  # the distances of every model
TENSORS = {"references": 2, "origin": 1, "center": 1, "directions": 2}  # by name, the number of dimensions


class Scale(NamedTuple):
    """What a distance is to known images: its median, and how far above it their 95% quantile lies."""

    center: float
    spread: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Strangeness:
    """A score of strangeness, and the threshold above which an image is unlike anything in training.

    Attributes:
        references: features of training images, of length 1, float32 `[M, D]` with the values of float16.
        neighbor: the distance is that to the `neighbor`-th nearest reference, from 1.
        origin: the mean features of training images, float32 `[D]`.
        center: the mean coarse training image, float32 `[P]`; empty without `pixels`.
        directions: the main directions of variation around it, orthonormal, float32 `[Q, P]`; empty without `pixels`.
        scales: of each distance that counts, by its name; `pixels` may be missing.
        threshold: an image with a larger score is a stranger.
        kept: the fraction of known images that the threshold keeps: value, low and high end of the 95% interval, and
            the number of images that it was estimated from.
    """

    references: Tensor
    neighbor: int
    origin: Tensor
    center: Tensor
    directions: Tensor
    scales: Mapping[str, Scale]
    threshold: float
    kept: tuple[float, float, float, int]

    def score(self, features: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """Return how strange each image is, float32 `[B]`; higher is stranger.

        Args:
            features: what the head gets, float `[B, D]`, of the images as they are.
            logits: float `[B, K]`.
            images: uint8 `[B, C, H, W]`, as the network gets them.
        """
        return combined(self.distances(features, logits, images), self.scales)

    def distances(self, features: Tensor, logits: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Return each distance that counts by its name, float32 `[B]`; see `score`."""
        found = {
            "head": undecided(features - self.origin, logits),
            "features": neighbor_distances(features, self.references, self.neighbor),
        }
        if "pixels" in self.scales:
            found["pixels"] = residuals(coarse(images), self.center, self.directions)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return what a model file keeps as tensors, by name, in float16."""
        return {name: getattr(self, name).half().cpu().contiguous() for name in TENSORS}

    def header(self) -> dict[str, Any]:
        """Return what a model file keeps in its header, in JSON's types."""
        return {
            "neighbor": self.neighbor,
            "scales": {name: list(scale) for name, scale in self.scales.items()},
            "threshold": self.threshold,
            "kept": list(self.kept),
        }

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Return the score that a model file describes.

        Raises:
            ValueError: if anything in it is missing or impossible, with the name of that part.
        """
        for name in tensors:
            _require(name in TENSORS, name)
        for name, dimensions in TENSORS.items():
            tensor = tensors.get(name)
            ok = tensor is not None and tensor.dtype == torch.float16 and tensor.ndim == dimensions
            _require(ok and bool(tensor.isfinite().all()), name)  # type: ignore[union-attr]
        references, origin, center, directions = (tensors[name].float() for name in TENSORS)
        _require(1 <= len(references) <= MAX_REFERENCES and references.shape[1] > 0, "references")
        _require(references.shape[1] == len(origin), "origin")
        _require(directions.shape[1] == len(center), "directions")
        neighbor, scales, threshold, kept = (header.get(key) for key in ("neighbor", "scales", "threshold", "kept"))
        _require(type(neighbor) is int and 1 <= neighbor <= len(references), "neighbor")
        _require(
            isinstance(scales, dict) and scales.keys() >= ALWAYS and not scales.keys() - ALWAYS - {"pixels"}, "scales"
        )
        for scale in scales.values():  # type: ignore[union-attr]
            _require(_are_numbers(scale, 2) and scale[1] > 0, "scales")
        _require(_are_numbers([threshold], 1), "threshold")
        _require(_are_numbers(kept, 4) and 0 <= kept[1] <= kept[0] <= kept[2] <= 1, "kept")  # type: ignore[index]
        _require(type(kept[3]) is int and kept[3] >= 0, "kept")  # type: ignore[index]
        return cls(
            references=references,
            neighbor=neighbor,  # type: ignore[arg-type]
            origin=origin,
            center=center,
            directions=directions,
            scales={name: Scale(*map(float, scale)) for name, scale in scales.items()},  # type: ignore[union-attr]
            threshold=float(threshold),  # type: ignore[arg-type]
            kept=tuple(kept),  # type: ignore[arg-type]
        )

    def to(self, device: torch.device | str) -> "Strangeness":
        """Return the same score with its tensors on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in TENSORS})

    def require_fit(self, num_features: int, input_size: tuple[int, int, int]) -> None:
        """Raise a `ValueError` unless this score is for images of this size and this number of features."""
        _require(self.references.shape[1] == num_features, "references")
        _require(len(self.center) == (coarse_size(input_size) if "pixels" in self.scales else 0), "center")


def combined(distances: Mapping[str, Tensor], scales: Mapping[str, Scale]) -> Tensor:
    """Return the strangeness that follows from distances, float32 `[B]` each."""
    scaled = {name: (distances[name] - scale.center) / scale.spread for name, scale in scales.items()}
    head = scaled.pop("head")
    return head + FAR_WEIGHT * (torch.stack(list(scaled.values())).amax(dim=0) - ORDINARY).clamp_min(0)


def undecided(features: Tensor, logits: Tensor) -> Tensor:
    """Return how far features are from pointing to a class, float32 `[B]`: minus the largest logit, as a cosine.

    Logits without their mean are products of the features and what each class adds to the mean weights; divided by the
    length of the features, they no longer grow with it.

    Args:
        features: float `[B, D]`, without the mean of training images.
        logits: float `[B, K]`.
    """
    above = logits.float().amax(dim=1) - logits.float().mean(dim=1)
    lengths: Tensor = torch.linalg.vector_norm(features.float(), dim=1)
    return -(above / lengths.clamp_min(SHORTEST)).nan_to_num(nan=0.0)


def neighbor_distances(features: Tensor, references: Tensor, neighbor: int) -> Tensor:
    """Return the cosine distance to the `neighbor`-th nearest reference, float32 `[B]`; NaN features are the farthest.

    Args:
        features: float `[B, D]`.
        references: of length 1, float32 `[M, D]`.
        neighbor: from 1 to M.
    """
    near = functional.normalize(features.float(), dim=1) @ references.T
    return (1 - near.nan_to_num(nan=1 - FARTHEST).topk(neighbor, dim=1).values[:, -1]).clamp_min(0).clamp_max(FARTHEST)


def residuals(pixels: Tensor, center: Tensor, directions: Tensor) -> Tensor:
    """Return how far pixels, float32 `[B, P]`, are from what the directions can draw, per pixel, float32 `[B]`."""
    off = pixels - center
    inside = off @ directions.T
    return (off.square().sum(1) - inside.square().sum(1)).clamp_min(0).div(off.shape[1]).sqrt()


def coarse(images: Tensor) -> Tensor:
    """Return images, uint8 `[B, C, H, W]`, averaged to at most `GRID` by `GRID` squares, as float32 `[B, P]` in 0..1.

    A square that is cut by the lower or right border is the mean of what is inside.
    """
    height, width = images.shape[2:]
    small = images.float() / 255
    if max(height, width) > GRID:
        squares = (-(-height // GRID), -(-width // GRID))
        small = functional.avg_pool2d(small, squares, ceil_mode=True, count_include_pad=False)
    return small.flatten(1)


def coarse_size(input_size: tuple[int, int, int]) -> int:
    """Return P, the number of values of a coarse image."""
    channels, height, width = input_size
    rows, columns = (-(-side // -(-side // GRID)) for side in (height, width))
    return channels * rows * columns


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(one) in (int, float) and abs(one) < 1e30 for one in values)
    )


def _require(condition: bool, part: str) -> None:
    if not condition:
        raise ValueError(f"{part} of the strangeness is missing or impossible")
