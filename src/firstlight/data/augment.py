"""`Augment`: which random changes the training images get in every epoch, and how strong they are.

This module imports neither torch nor NumPy, so that the command line can list its choices at once; the work is in
`random_transforms.py`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from firstlight.choices import check_choices
from firstlight.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

AUGMENT_RANGES: dict[str, tuple[float, float]] = {
    "shift": (0, 4096), "crop_scale": (0.01, 1), "rotate": (0, 180), "color_jitter": (0, 1), "erase": (0, 1),
    "mixup": (0, 100), "cutmix": (0, 100),
}  # fmt: skip  # a table reads best with few lines


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images; the default is none. Order: rotate, crop, flip, shift, colors, erase, mix.

    What happens to a sample depends only on (seed, epoch, sample): not on its batch, the device or the order of the
    samples. Only mixup and cutmix also need a partner, which is the next image of the batch (the first for the last).

    Raises:
        RecipeError: if a value is out of its range.

    >>> import torch
    >>> images, labels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 2, 0])
    >>> augment = Augment(flip=True, shift=1)
    >>> images, labels = augment(images, labels, rows=torch.arange(4), seed=0, epoch=0, num_classes=3)
    >>> images.shape, labels
    (torch.Size([4, 3, 8, 8]), tensor([0, 1, 2, 0]))
    """

    flip: bool | None = None
    """Mirror each training picture left to right with probability 1/2. On by default for color pictures, except
    with the mlp."""
    shift: int | None = None
    """Shift training pictures by up to this many pixels in each direction; the gap is filled by reflection. The
    default depends on the network."""
    crop_scale: float | None = None
    """Enlarge a random box of at least this fraction of a training picture's area, with 3/4 to 4/3 of its aspect
    ratio; 1 turns this off. The default depends on the network."""
    rotate: float = 0.0
    """Rotate training pictures by up to this many degrees either way."""
    color_jitter: float = 0.0
    """Change the brightness, contrast, and saturation of training pictures at random, each by up to this fraction."""
    erase: float = 0.0
    """Probability of painting a box of 1/50 to 1/3 of a training picture in its mean color (Zhong et al., 2017)."""
    mixup: float = 0.0
    """Blend pairs of training pictures, with weights from Beta(X, X), where X is this number (Zhang et al., 2018)."""
    cutmix: float = 0.0
    """Paste in a box from another training picture, its area from Beta(X, X), where X is this number (Yun et al.,
    2019). If mixup is on too, each picture gets one of the two at random."""

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            RecipeError: if a value is not allowed.
        """
        check_choices(self, AUGMENT_RANGES)

    def require_room(self, height: int, width: int) -> None:
        """Raise a RecipeError if `shift` is not smaller than images of this size."""
        shift = self.shift or 0
        if shift >= min(height, width):
            reason = f"choose less than the side of the pictures, {width} x {height}"
            raise RecipeError(reason, field="shift", value=shift)

    def __call__(
        self, images: "Tensor", labels: "Tensor", rows: "Tensor", *, seed: int, epoch: int, num_classes: int
    ) -> "tuple[Tensor, Tensor]":
        """Return the batch with the random changes of this epoch; the same tensors if nothing is chosen.

        `flip`, `shift` and `crop_scale` that are None are off.

        Args:
            images: uint8 [B, C, H, W], C = 1 or 3, fastest if channels-last; never changed.
            labels: int64 [B].
            rows: int64 [B], the index of each sample in the whole set.
            seed: the seed of the run.
            epoch: the number of the epoch.
            num_classes: the number of classes, K.

        Returns:
            Images uint8 [B, C, H, W], channels-last, and the targets. These are `labels`, or with mixup or cutmix
            float32 [B, K], each row summing to 1.

        Raises:
            RecipeError: if `shift` is not smaller than the images.
        """
        flip, shift = self.flip or False, self.shift or 0
        crop_scale = 1.0 if self.crop_scale is None else self.crop_scale
        moves = flip or shift or crop_scale < 1 or self.rotate
        if not (moves or self.color_jitter or self.erase or self.mixup or self.cutmix):
            return images, labels
        self.require_room(*images.shape[2:])

        from firstlight.data import random_transforms as random
        from firstlight.data.randomness import SampleRandom

        rng = SampleRandom(rows, seed, epoch)
        pixels, targets = images.permute(0, 2, 3, 1), labels
        if moves:
            pixels = random.move(pixels, rng, flip=flip, shift=shift, crop_scale=crop_scale, degrees=self.rotate)
        if self.color_jitter:
            pixels = random.jitter_colors(pixels, rng, self.color_jitter)
        if self.erase:
            pixels = random.erase_boxes(pixels, rng, self.erase)
        if self.mixup or self.cutmix:
            pixels, fraction = random.mix(pixels, rng, mixup=self.mixup, cutmix=self.cutmix)
            targets = random.soft_targets(labels, fraction, num_classes)
        return random.channels_last(pixels), targets
