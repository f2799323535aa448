"""Restore the border that `crop:FRACTION` cut off a packed image, so that all of it can be shown."""

import numpy as np
from numpy.typing import NDArray

from firstlight.data.images import MAX_PIXELS, resize_image
from firstlight.data.isolation import decode_safely
from firstlight.data.samples import Samples
from firstlight.resize import parse_resize
from firstlight.white import TYPES_WHITE, White


def uncropped(original: NDArray[np.uint8], packed: NDArray[np.uint8], resize: str) -> NDArray[np.uint8] | None:
    """Return a packed image with the border that was cut off; None if nothing was cut off.

    The result is as small as possible. Resized again, it gives `packed`, to the last bit if that is square.

    Args:
        original: the pixels before resizing, uint8 `[h, w, c]`.
        packed: the pixels after resizing, uint8 `[H, W, C]`.
        resize: how they were resized; see `images.resize_image`.

    Returns:
        uint8 `[round(H / fraction), round(W / fraction), C]`, or None.

    Raises:
        RecipeError: if there is no such `resize`.
    """
    method, fraction = parse_resize(resize)
    if fraction == 1:
        return None
    height, width, channels = packed.shape
    whole = np.array(resize_image(original, (channels, round(height / fraction), round(width / fraction)), method))
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    whole[top : top + height, left : left + width] = packed
    return whole


def uncropped_image(
    samples: Samples,
    row: int,
    packed: NDArray[np.uint8],
    resize: str,
    *,
    max_pixels: int = MAX_PIXELS,
    white: White = TYPES_WHITE,
) -> NDArray[np.uint8] | None:
    """Return image `row` of a set with its border, as `uncropped`; it is read only if something was cut off.

    Args:
        samples: the set.
        row: the image's row.
        packed: the row of the store, uint8 `[H, W, C]`.
        resize: how the store was resized.
        max_pixels: an image with more pixels is refused.
        white: which value of more than 8 bits is white.

    Raises:
        ImageError: if the image cannot be read or decoded.
        RecipeError: if there is no such `resize`.
    """
    if parse_resize(resize)[1] == 1:
        return None
    found = samples.images.read(row)
    if not isinstance(found, np.ndarray):
        found = decode_safely(found, name=samples.names[row], max_pixels=max_pixels, white=white).pixels
    return uncropped(found, packed, resize)
