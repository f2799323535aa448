"""Draw the parameters of each sample's random changes, and apply them to a whole batch on its device.

Images are uint8 [B, H, W, C]. Every draw is a function of (seed, epoch, sample, purpose); see `randomness.py`.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.data.randomness import SampleRandom
from firstlight.data.transforms import adjust_colors, blend, erase, flip_and_shift, paste, resample

TABLE_ENTRIES = 4096  # equally likely values of an angle, an aspect ratio or a mixing weight
MAX_CROP_ASPECT, MAX_ERASE_ASPECT = 4 / 3, 2.0  # relative to the image's own aspect ratio; the least is the inverse
MIN_ERASED, MAX_ERASED = 1 / 50, 1 / 3  # fractions of the image's area


def move(pixels: Tensor, rng: SampleRandom, *, flip: bool, shift: int, crop_scale: float, degrees: float) -> Tensor:
    """Return images that are randomly rotated, cropped, mirrored and shifted.

    Args:
        pixels: uint8 [B, H, W, C].
        rng: the random numbers of these samples.
        flip: whether each image is mirrored with probability 1/2.
        shift: the largest shift in each direction, in pixels.
        crop_scale: the least fraction of the area that is cut out; 1 for all.
        degrees: the largest rotation either way.
    """
    _, height, width, _ = pixels.shape
    flips = rng.chance("flip", 0.5 if flip else 0.0)
    across = rng.whole("shift across", 2 * shift + 1) - shift
    down = rng.whole("shift down", 2 * shift + 1) - shift
    if crop_scale == 1 and not degrees:
        return flip_and_shift(pixels, flips, across, down)
    boxes = crop_boxes(rng, crop_scale, height=height, width=width)
    rotations = rng.pick("rotate", rotation_table(degrees, pixels.device))
    return resample(pixels, flips=flips, across=across, down=down, boxes=boxes, rotations=rotations)


def crop_boxes(rng: SampleRandom, crop_scale: float, *, height: int, width: int) -> Tensor:
    """Return random boxes of at least the fraction `crop_scale` of an image: int64 [B, 4], as `_boxes`."""
    area = crop_scale + (1 - crop_scale) * rng.uniform("crop area")
    aspect = rng.pick("crop aspect", log_uniform_table(MAX_CROP_ASPECT, rng.rows.device))
    # The more of the image a box covers, the closer its aspect ratio has to be to the image's.
    aspect = torch.minimum(torch.maximum(aspect, area), 1 / area)
    return _boxes(rng, "crop", area, aspect, height=height, width=width, rounding=torch.ceil)


def jitter_colors(pixels: Tensor, rng: SampleRandom, strength: float) -> Tensor:
    """Return images with brightness, contrast and saturation scaled by random factors; see `jitter_factor`."""
    return adjust_colors(
        pixels,
        brightness=jitter_factor(rng, "brightness", strength),
        contrast=jitter_factor(rng, "contrast", strength),
        saturation=jitter_factor(rng, "saturation", strength),
    )


def jitter_factor(rng: SampleRandom, purpose: str, strength: float) -> Tensor:
    """Return factors from 1 - strength to 1 + strength: float32 [B]."""
    return 1 + strength * (2 * rng.uniform(purpose) - 1)


def erase_boxes(pixels: Tensor, rng: SampleRandom, probability: float) -> Tensor:
    """Return images of which some have a random box painted in their mean color."""
    _, height, width, _ = pixels.shape
    area = MIN_ERASED + (MAX_ERASED - MIN_ERASED) * rng.uniform("erase area")
    area = torch.where(rng.chance("erase", probability), area, 0)
    aspect = rng.pick("erase aspect", log_uniform_table(MAX_ERASE_ASPECT, pixels.device))
    return erase(pixels, _boxes(rng, "erase", area, aspect, height=height, width=width))


def mix(pixels: Tensor, rng: SampleRandom, *, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Mix each image with the next one of the batch; the last one with the first.

    Args:
        pixels: uint8 [B, H, W, C].
        rng: the random numbers of these samples.
        mixup: blend with weights from Beta(mixup, mixup); 0 for never.
        cutmix: paste boxes whose area is from Beta(cutmix, cutmix); 0 for never.

    Returns:
        The images, and the fraction of each that is its own, float32 [B].
    """
    _, height, width, _ = pixels.shape
    others, mixed = pixels.roll(-1, 0), pixels
    fraction = torch.ones(len(pixels), device=pixels.device)
    is_cut = rng.chance("mixup or cutmix", 0.5 if mixup and cutmix else float(cutmix > 0))
    if mixup:
        fraction = torch.where(is_cut, 1, rng.pick("mixup share", beta_table(mixup, pixels.device)))
        mixed = blend(mixed, others, fraction)
    if cutmix:
        area = torch.where(is_cut, rng.pick("cutmix area", beta_table(cutmix, pixels.device)), 0)
        boxes = _boxes(rng, "cutmix", area, torch.ones_like(area), height=height, width=width)
        mixed = paste(mixed, others, boxes)
        fraction = fraction * (1 - boxes[:, 2] * boxes[:, 3] / (height * width))
    return mixed, fraction


def soft_targets(labels: Tensor, fraction: Tensor, num_classes: int) -> Tensor:
    """Return float32 [B, K]: `fraction` for the sample's own label, the rest for the next sample's."""
    own = labels[:, None] == torch.arange(num_classes, device=labels.device)
    return fraction[:, None] * own + (1 - fraction[:, None]) * own.roll(-1, 0)


def channels_last(pixels: Tensor) -> Tensor:
    """Return [B, H, W, C] as [B, C, H, W], channels-last in memory."""
    return pixels.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _boxes(
    rng: SampleRandom,
    purpose: str,
    area: Tensor,
    aspect: Tensor,
    *,
    height: int,
    width: int,
    rounding: Callable[[Tensor], Tensor] = torch.round,
) -> Tensor:
    """Return a randomly placed box in each image: int64 [B, 4]: left, top, width, height in pixels.

    Args:
        rng: the random numbers of these samples.
        purpose: what the boxes are for; its draws are independent of those for other purposes.
        area: fraction of the image's area, float32 [B].
        aspect: aspect ratio relative to the image's own, float32 [B].
        height: of the images, in pixels.
        width: of the images, in pixels.
        rounding: how sides become whole pixels.
    """
    box_width = rounding(width * (area * aspect).sqrt()).clamp(0, width).long()
    box_height = rounding(height * (area / aspect).sqrt()).clamp(0, height).long()
    left = rng.whole(f"{purpose} left", width - box_width + 1)
    top = rng.whole(f"{purpose} top", height - box_height + 1)
    return torch.stack([left, top, box_width, box_height], dim=1)


# The tables of `SampleRandom.pick`: equally likely values, made once per device, in float64.


def _levels() -> NDArray[np.float64]:
    """Return the centers of equal slices of 0 .. 1: the probabilities whose quantiles fill a table."""
    return (np.arange(TABLE_ENTRIES) + 0.5) / TABLE_ENTRIES


def _table(values: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)


@lru_cache(maxsize=32)
def log_uniform_table(limit: float, device: torch.device) -> Tensor:
    """Return factors from 1 / limit to limit, a factor as likely as its inverse: [n]."""
    return _table(np.exp((2 * _levels() - 1) * math.log(limit)), device)


@lru_cache(maxsize=32)
def rotation_table(degrees: float, device: torch.device) -> Tensor:
    """Return cosine and sine of uniform angles within +- `degrees`: [n, 2]."""
    angles = (2 * _levels() - 1) * math.radians(degrees)
    return _table(np.stack([np.cos(angles), np.sin(angles)], axis=1), device)


@lru_cache(maxsize=32)
def beta_table(parameter: float, device: torch.device) -> Tensor:
    """Return quantiles of Beta(a, a): [n].

    In t, where x = 1 / (1 + exp(-t)), the density is proportional to cosh(t / 2)^(-2a): smooth for every a, while in x
    it may have poles at 0 and 1. So it is integrated in t.
    """
    limit = 16 / parameter + 8 / math.sqrt(parameter)
    t = np.linspace(-limit, limit, 2**16)
    density = np.exp(-2 * parameter * (np.logaddexp(t / 2, -t / 2) - math.log(2)))
    below = np.cumsum(density) - density / 2
    quantiles = np.interp(_levels() * density.sum(), below, t)
    return _table((1 + np.tanh(quantiles / 2)) / 2, device)
