"""Take images and labels that are in memory already: NumPy arrays or torch tensors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.image_sources import ArrayImages
from firstlight.data.samples import Samples, label_classes, number_names
from firstlight.errors import DataError

_SOURCE = "arrays"  # the name of such a set, and the source in its messages


def from_arrays(images: Any, labels: Any) -> Samples:
    """Return images and labels as a set.

    Args:
        images: NumPy `[N, H, W]` or `[N, H, W, C]`, torch `[N, H, W]` or `[N, C, H, W]`, C = 1 or 3; see
            `to_uint8` for types and ranges.
        labels: `[N]` whole numbers, whose classes are in numeric order, or words, in lexicographic order.

    Raises:
        DataError: if shapes, types, ranges or lengths do not match.
    """
    pixels = channels_last(images)
    if not len(pixels):
        raise DataError(f"{_SOURCE}: there are no pictures in an array of shape {tuple(pixels.shape)}")
    words = _as_array(labels)
    if words.ndim != 1:
        raise DataError(f"{_SOURCE}: labels have shape {words.shape}; give one number or word for each picture")
    if len(words) != len(pixels):
        raise DataError(
            f"{_SOURCE}: {len(pixels):,} pictures but {len(words):,} labels; give one label for each picture"
        )
    if words.dtype.kind in "iu":
        numbers, indices = np.unique(words, return_inverse=True)
        notes: tuple[str, ...] = ()
        classes = tuple(str(number) for number in numbers)
        if len(classes) < 2:
            raise DataError(f"{_SOURCE}: there is only one class, {classes[0]}; a classifier needs two or more")
        ids = indices.astype(np.int64)
    elif words.dtype.kind == "U" or (words.dtype.kind == "O" and all(isinstance(word, str) for word in words)):
        if any(not word.strip() for word in words):
            raise DataError(
                f"{_SOURCE}: label {[bool(w.strip()) for w in words].index(False)} is empty; give a word for "
                "each picture"
            )
        classes, ids, notes = label_classes([str(word) for word in words], _SOURCE)
    else:
        raise DataError(f"{_SOURCE}: labels are {words.dtype}; give whole numbers or words")
    names = tuple(number_names(len(pixels)))
    return Samples(_SOURCE, _SOURCE, ArrayImages(to_uint8(pixels)), names, ids, classes, None, None, notes)


def _as_array(values: Any) -> NDArray[Any]:
    """Return an array, also of a tensor on any device; this does not import torch."""
    if hasattr(values, "detach"):
        try:
            return np.asarray(values.detach().cpu().numpy())
        except TypeError:  # a data type that NumPy does not have
            raise DataError(f"{_SOURCE}: tensors are {values.dtype}; give uint8, float32 or int64") from None
    return np.asarray(values)


def channels_last(images: Any) -> NDArray[Any]:
    """Return images as an array `[N, H, W, C]` of the same data type.

    Args:
        images: NumPy `[N, H, W]` or `[N, H, W, C]`, torch `[N, H, W]` or `[N, C, H, W]` on any device, C = 1 or 3.

    Raises:
        DataError: if they have another shape, or no pixels.
    """
    pixels = _as_array(images)
    is_tensor = hasattr(images, "detach")
    layout = "torch [N, C, H, W]" if is_tensor else "NumPy [N, H, W, C]"
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    elif pixels.ndim == 4 and is_tensor:
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or 0 in pixels.shape[1:]:
        raise DataError(
            f"{_SOURCE}: pictures have shape {tuple(np.shape(images))}; give {layout} with C = 1 or 3, or [N, H, W]"
        )
    return pixels


def to_uint8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels of any shape as uint8.

    uint8 is taken as it is, uint16 is scaled from 0..65535, floats from 0..1. Other types and ranges are refused,
    because it would be a guess which value is white.

    Raises:
        DataError: if the type or the range is another one.
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = pixels.min(), pixels.max()
    white = {"u2": 65535, "f2": 1, "f4": 1, "f8": 1}.get(pixels.dtype.str[1:])
    if white is None or not (low >= 0 and high <= white):  # this order also refuses NaN
        raise DataError(
            f"{_SOURCE}: pictures are {pixels.dtype} from {low} to {high}; give uint8 in 0..255, or floats in 0..1"
        )
    scaled: NDArray[np.uint8] = np.rint(pixels.astype(np.float32) * (255 / white)).astype(np.uint8)
    return scaled
