"""Images as the pixels that a figure shows, from arrays or tensors of any layout and type."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import UserError

if TYPE_CHECKING:
    import torch

    ImageLike = NDArray[Any] | torch.Tensor

IMAGE_CHANNELS = (1, 3, 4)  # gray, RGB, RGB with alpha


def as_array(values: Any) -> NDArray[Any]:
    """Return a NumPy array of a list, an array, or a tensor on any device."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def as_pixels(image: "ImageLike") -> NDArray[Any]:
    """Return `[H, W]` or `[H, W, 3 or 4]`, uint8 or float in 0..1.

    A wider unsigned type is scaled by its own range. Floats and signed integers outside 0..1 are stretched from their
    lowest to their highest value. Channels are averaged where an image cannot have so many.

    Raises:
        UserError: if it has neither two nor three dimensions, or no pixels.
    """
    pixels = as_array(image)
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise UserError(f"a picture is [H, W], [H, W, C] or [C, H, W], not {list(pixels.shape)}")
    if pixels.ndim == 3:
        pixels = _channels_last(pixels, tensor=hasattr(image, "detach"))
        if pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        elif pixels.shape[2] not in IMAGE_CHANNELS:
            pixels = pixels.mean(axis=2).astype(pixels.dtype)
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "u":
        return pixels / np.float64(np.iinfo(pixels.dtype).max)
    return _stretched(np.nan_to_num(pixels.astype(np.float64), posinf=0, neginf=0))


def _channels_last(pixels: NDArray[Any], *, tensor: bool) -> NDArray[Any]:
    """Return `[H, W, C]`: tensors have channels first and arrays last, unless the shape says otherwise."""
    first, _, last = pixels.shape
    if first in IMAGE_CHANNELS and last in IMAGE_CHANNELS:
        channels_first = tensor
    elif first in IMAGE_CHANNELS or last in IMAGE_CHANNELS:
        channels_first = first in IMAGE_CHANNELS
    else:
        channels_first = first < last
    return np.moveaxis(pixels, 0, 2) if channels_first else pixels


def _stretched(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        return pixels
    return (pixels - low) / (high - low or 1.0)
