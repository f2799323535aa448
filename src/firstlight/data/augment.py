"""Images made a little different every epoch: batched, on the device, each sample by its own dice.

What happens to a sample depends on (seed, epoch, sample) alone: neither its batch, nor the device, nor the order
matters. Mixup and cutmix alone need a partner, which is the next image of the batch (the first for the last); batches
themselves follow from (seed, epoch), so a resumed run still sees the same images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.data.randomness import SampleRandom
from firstlight.data.transforms import adjust_colors, blend, erase, flip_and_shift, paste, resample
from firstlight.errors import RecipeError

_STEPS = 4096  # equally likely values of an angle, an aspect or a share


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What may happen to the images of an epoch; the default is nothing.

    The order is rotate, crop, flip, shift, colors, erase, mix.

    Raises:
        RecipeError: if a field is out of its range.
    """

    flip: bool = False
    """Mirror left to right, every second time."""
    shift: int = 0
    """Move by up to this many pixels in each direction; what comes in is the reflected image."""
    crop_scale: float = 1.0
    """Below 1: enlarge a random box of at least this share of the area, its aspect 3/4 to 4/3 of the image's."""
    rotate: float = 0.0
    """Turn by up to this many degrees either way, 0 to 180."""
    color_jitter: float = 0.0
    """Change brightness, contrast and saturation, each by a factor within 1 +- this."""
    erase: float = 0.0
    """The probability that a box of 1/50 to 1/3 of the image is painted in its mean color (Zhong et al., 2017)."""
    mixup: float = 0.0
    """Blend with a second image, the shares from Beta(mixup, mixup) (Zhang et al., 2018)."""
    cutmix: float = 0.0
    """Paste a box of a second image, its area from Beta(cutmix, cutmix) (Yun et al., 2019).

    With `mixup` too, each sample takes one of the two, by a fair coin.
    """

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if not isinstance(self.flip, bool):
            raise RecipeError(f"flip = {self.flip!r}: choose true or false")
        if not isinstance(self.shift, int) or isinstance(self.shift, bool) or self.shift < 0:
            raise RecipeError(f"shift = {self.shift!r}: give a whole number of pixels, 0 for none")
        if not 0 < self.crop_scale <= 1:
            raise RecipeError(f"crop_scale = {self.crop_scale}: give a share above 0 and up to 1 (no crop)")
        for field, highest, meaning in (
            ("rotate", 180, "degrees"),
            ("color_jitter", 1, "change of a factor"),
            ("erase", 1, "probability"),
            ("mixup", 100, "parameter of the Beta distribution"),
            ("cutmix", 100, "parameter of the Beta distribution"),
        ):
            value = getattr(self, field)
            if not 0 <= value <= highest:
                raise RecipeError(f"{field} = {value}: give a {meaning} from 0 (off) to {highest}")

    def __call__(
        self, images: Tensor, labels: Tensor, rows: Tensor, *, seed: int, epoch: int, num_classes: int
    ) -> tuple[Tensor, Tensor]:
        """Give the batch as it looks in this epoch; with nothing chosen, the very same tensors.

        Args:
            images: uint8 [B, C, H, W], C = 1 or 3, best channels-last; never changed.
            labels: int64 [B].
            rows: int64 [B], each sample's number in the whole set.
            seed: the run's seed.
            epoch: the epoch's number.
            num_classes: K.

        Returns:
            images uint8 [B, C, H, W], channels-last, and the targets: int64 [B] as given, or with mixup or cutmix
            float32 [B, K], each row summing to 1.

        Raises:
            RecipeError: if `shift` is not smaller than the images.
        """
        if self == Augment():
            return images, labels
        rng = SampleRandom(rows, seed, epoch)
        pixels, targets = images.permute(0, 2, 3, 1), labels
        if self.flip or self.shift or self.crop_scale < 1 or self.rotate:
            pixels = self._move(pixels, rng)
        if self.color_jitter:
            pixels = adjust_colors(
                pixels,
                brightness=self._factor("brightness", rng),
                contrast=self._factor("contrast", rng),
                saturation=self._factor("saturation", rng),
            )
        if self.erase:
            pixels = self._erase(pixels, rng)
        if self.mixup or self.cutmix:
            pixels, fraction = self._mix(pixels, rng)
            targets = _soft_targets(labels, fraction, num_classes)
        return pixels.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last), targets

    def _move(self, pixels: Tensor, rng: SampleRandom) -> Tensor:
        _, height, width, _ = pixels.shape
        if self.shift >= min(height, width):
            raise RecipeError(f"shift = {self.shift}: it must be smaller than the pictures, {width} x {height}")
        flips = rng.chance("flip", 0.5 if self.flip else 0.0)
        across = rng.whole("shift across", 2 * self.shift + 1) - self.shift
        down = rng.whole("shift down", 2 * self.shift + 1) - self.shift
        if self.crop_scale == 1 and not self.rotate:
            return flip_and_shift(pixels, flips, across, down)
        boxes = self._crop_boxes(rng, height=height, width=width)
        turns = rng.pick("rotate", _turns(self.rotate, pixels.device))
        return resample(pixels, flips=flips, across=across, down=down, boxes=boxes, turns=turns)

    def _crop_boxes(self, rng: SampleRandom, *, height: int, width: int) -> Tensor:
        area = self.crop_scale + (1 - self.crop_scale) * rng.uniform("crop area")
        aspect = rng.pick("crop aspect", _log_uniform(4 / 3, rng.rows.device))
        # The more of the image a box must cover, the closer to the image's its aspect has to be.
        aspect = torch.minimum(torch.maximum(aspect, area), 1 / area)
        return _boxes(rng, "crop", area, aspect, height=height, width=width, rounding=torch.ceil)

    def _factor(self, purpose: str, rng: SampleRandom) -> Tensor:
        return 1 + self.color_jitter * (2 * rng.uniform(purpose) - 1)

    def _erase(self, pixels: Tensor, rng: SampleRandom) -> Tensor:
        _, height, width, _ = pixels.shape
        area = 1 / 50 + (1 / 3 - 1 / 50) * rng.uniform("erase area")
        area = torch.where(rng.chance("erase", self.erase), area, 0)
        aspect = rng.pick("erase aspect", _log_uniform(2, pixels.device))
        return erase(pixels, _boxes(rng, "erase", area, aspect, height=height, width=width))

    def _mix(self, pixels: Tensor, rng: SampleRandom) -> tuple[Tensor, Tensor]:
        """Mix each image with the next one: give the images and each one's own share, float32 [B]."""
        _, height, width, _ = pixels.shape
        others, mixed = pixels.roll(-1, 0), pixels
        fraction = torch.ones(len(pixels), device=pixels.device)
        cuts = rng.chance("mixup or cutmix", 0.5 if self.mixup and self.cutmix else float(self.cutmix > 0))
        if self.mixup:
            fraction = torch.where(cuts, 1, rng.pick("mixup share", _beta(self.mixup, pixels.device)))
            mixed = blend(mixed, others, fraction)
        if self.cutmix:
            area = torch.where(cuts, rng.pick("cutmix area", _beta(self.cutmix, pixels.device)), 0)
            boxes = _boxes(rng, "cutmix", area, torch.ones_like(area), height=height, width=width)
            mixed = paste(mixed, others, boxes)
            fraction = fraction * (1 - boxes[:, 2] * boxes[:, 3] / (height * width))
        return mixed, fraction


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
    """Place a box of this share of the area and this aspect (both float32 [B]) somewhere in each image.

    The aspect is relative to the image's own. Returns int64 [B, 4]: left, top, width, height.
    """
    box_width = rounding(width * (area * aspect).sqrt()).clamp(0, width).long()
    box_height = rounding(height * (area / aspect).sqrt()).clamp(0, height).long()
    left = rng.whole(f"{purpose} left", width - box_width + 1)
    top = rng.whole(f"{purpose} top", height - box_height + 1)
    return torch.stack([left, top, box_width, box_height], dim=1)


def _soft_targets(labels: Tensor, fraction: Tensor, num_classes: int) -> Tensor:
    """Give float32 [B, K]: `share` for the sample's own label, the rest for the next sample's."""
    own = labels[:, None] == torch.arange(num_classes, device=labels.device)
    return fraction[:, None] * own + (1 - fraction[:, None]) * own.roll(-1, 0)


# The tables of `Dice.pick`: equally likely values, made once a device in float64.


def _levels() -> NDArray[np.float64]:
    """Give the middles of equal slices of 0 .. 1: the probabilities whose quantiles fill a table."""
    return (np.arange(_STEPS) + 0.5) / _STEPS


def _table(values: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)


@lru_cache(maxsize=32)
def _log_uniform(limit: float, device: torch.device) -> Tensor:
    """Tabulate factors from 1 / limit to limit, a factor as likely as its inverse: [n]."""
    return _table(np.exp((2 * _levels() - 1) * math.log(limit)), device)


@lru_cache(maxsize=32)
def _turns(degrees: float, device: torch.device) -> Tensor:
    """Tabulate cosine and sine of angles within +- `degrees`: [n, 2]."""
    angles = (2 * _levels() - 1) * math.radians(degrees)
    return _table(np.stack([np.cos(angles), np.sin(angles)], axis=1), device)


@lru_cache(maxsize=32)
def _beta(parameter: float, device: torch.device) -> Tensor:
    """Tabulate quantiles of Beta(a, a): [n].

    In t, where x = 1 / (1 + exp(-t)), the density is proportional to cosh(t / 2)^(-2a): smooth for every a, while in x
    it may have poles at 0 and 1. So it is summed in t.
    """
    reach = 16 / parameter + 8 / math.sqrt(parameter)
    t = np.linspace(-reach, reach, 2**16)
    density = np.exp(-2 * parameter * (np.logaddexp(t / 2, -t / 2) - math.log(2)))
    below = np.cumsum(density) - density / 2
    quantiles = np.interp(_levels() * density.sum(), below, t)
    return _table((1 + np.tanh(quantiles / 2)) / 2, device)
