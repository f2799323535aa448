"""How strange an image is to a model: far from the training images in its features, and unlike them in its pixels.

The features of an image are compared with those of a few training images, by cosine distance; its pixels, on a coarse
grid, with what the main directions of variation of the training images can draw. Each distance is brought to a scale on
which half of the known images are below 0 and 95% below 1; the strangeness of an image is the largest of them.
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
FARTHEST = 2.0  # the cosine distance of opposite directions, and the one of features that are no numbers
NAMES = ("features", "pixels")


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
        center: the mean coarse training image, float32 `[P]`.
        directions: the main directions of variation around it, orthonormal, float32 `[Q, P]`.
        scales: by name, `features` or `pixels` or both: the distances that count, and their scales.
        threshold: an image with a larger score is a stranger.
        kept: the fraction of known images that the threshold keeps: value, low and high end of the 95% interval, and
            the number of images that it was estimated from.
    """

    references: Tensor
    neighbor: int
    center: Tensor
    directions: Tensor
    scales: Mapping[str, Scale]
    threshold: float
    kept: tuple[float, float, float, int]

    def score(self, features: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """Return how strange each image is, float32 `[B]`; higher is stranger.

        Args:
            features: what the head gets, float `[B, D]`, of the images as they are.
            logits: float `[B, K]`; not used by this score.
            images: uint8 `[B, C, H, W]`, as the network gets them.
        """
        found = self.distances(features, images)
        return torch.stack([(found[name] - scale.center) / scale.spread for name, scale in self.scales.items()]).amax(0)

    def distances(self, features: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Return the distances that count, by name, float32 `[B]` each."""
        of = {"features": lambda: self._features(features), "pixels": lambda: self._pixels(images)}
        return {name: of[name]() for name in self.scales}

    def tensors(self) -> dict[str, Tensor]:
        """Return what a model file keeps as tensors, by name, in float16."""
        kept = {"references": self.references, "center": self.center, "directions": self.directions}
        return {name: tensor.half().cpu().contiguous() for name, tensor in kept.items()}

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
        for name, dimensions in (("references", 2), ("center", 1), ("directions", 2)):
            tensor = tensors.get(name)
            ok = tensor is not None and tensor.dtype == torch.float16 and tensor.ndim == dimensions
            _require(ok and bool(tensor.isfinite().all()), name)  # type: ignore[union-attr]
        references, center, directions = (tensors[name].float() for name in ("references", "center", "directions"))
        _require(1 <= len(references) <= MAX_REFERENCES and references.shape[1] > 0, "references")
        _require(directions.shape[1] == len(center), "directions")
        neighbor, scales, threshold, kept = (header.get(key) for key in ("neighbor", "scales", "threshold", "kept"))
        _require(type(neighbor) is int and 1 <= neighbor <= len(references), "neighbor")
        _require(isinstance(scales, dict) and len(scales) > 0 and scales.keys() <= set(NAMES), "scales")
        for scale in scales.values():  # type: ignore[union-attr]
            _require(_are_numbers(scale, 2) and scale[1] > 0, "scales")
        _require(_are_numbers([threshold], 1), "threshold")
        _require(_are_numbers(kept, 4) and 0 <= kept[1] <= kept[0] <= kept[2] <= 1, "kept")  # type: ignore[index]
        _require(type(kept[3]) is int and kept[3] >= 0, "kept")  # type: ignore[index]
        return cls(
            references=references,
            neighbor=neighbor,  # type: ignore[arg-type]
            center=center,
            directions=directions,
            scales={name: Scale(*map(float, scale)) for name, scale in scales.items()},  # type: ignore[union-attr]
            threshold=float(threshold),  # type: ignore[arg-type]
            kept=tuple(kept),  # type: ignore[arg-type]
        )

    def to(self, device: torch.device | str) -> "Strangeness":
        """Return the same score with its tensors on a device."""
        moved = {name: getattr(self, name).to(device) for name in ("references", "center", "directions")}
        return replace(self, **moved)

    def require_fit(self, num_features: int, input_size: tuple[int, int, int]) -> None:
        """Raise a `ValueError` unless this score is for images of this size and this number of features."""
        _require(self.references.shape[1] == num_features, "references")
        _require(len(self.center) == coarse_size(input_size), "center")

    def _features(self, features: Tensor) -> Tensor:
        return neighbor_distances(features, self.references.to(features.device), self.neighbor)

    def _pixels(self, images: Tensor) -> Tensor:
        device = images.device
        return residuals(coarse(images), self.center.to(device), self.directions.to(device))


def neighbor_distances(features: Tensor, references: Tensor, neighbor: int) -> Tensor:
    """Return the cosine distance to the `neighbor`-th nearest reference, float32 `[B]`; NaN features are the farthest.

    Args:
        features: float `[B, D]`.
        references: of length 1, float32 `[M, D]`.
        neighbor: from 1 to M.
    """
    near = functional.normalize(features.float(), dim=1) @ references.T
    return (1 - near.nan_to_num(nan=1 - FARTHEST).topk(neighbor, dim=1).values[:, -1]).clamp(0, FARTHEST)


def residuals(pixels: Tensor, center: Tensor, directions: Tensor) -> Tensor:
    """Return how far pixels, float32 `[B, P]`, are from what the directions can draw, per pixel, float32 `[B]`."""
    off = pixels - center
    inside = off @ directions.T
    return (off.square().sum(1) - inside.square().sum(1)).clamp_min(0).div(off.shape[1]).sqrt()


def coarse(images: Tensor) -> Tensor:
    """Return images, uint8 `[B, C, H, W]`, averaged to at most `GRID` by `GRID`, as float32 `[B, P]` in 0..1."""
    small = functional.adaptive_avg_pool2d(images.float() / 255, _grid(images.shape[2], images.shape[3]))
    return small.flatten(1)


def coarse_size(input_size: tuple[int, int, int]) -> int:
    """Return P, the number of values of a coarse image."""
    height, width = _grid(*input_size[1:])
    return input_size[0] * height * width


def _grid(height: int, width: int) -> tuple[int, int]:
    return min(height, GRID), min(width, GRID)


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(one) in (int, float) and abs(one) < 1e30 for one in values)
    )


def _require(condition: bool, part: str) -> None:
    if not condition:
        raise ValueError(f"{part} of the strangeness is missing or impossible")
