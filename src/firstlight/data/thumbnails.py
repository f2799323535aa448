"""Thumbnails: images as figures show them, made from the originals, not from what the network sees."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstlight.data.images import MAX_PIXELS
from firstlight.data.reading import read_sample
from firstlight.data.samples import Samples
from firstlight.white import TYPES_WHITE, White

SIDE = 256  # pixels; at most


def thumbnail(
    samples: Samples, row: int, *, max_pixels: int = MAX_PIXELS, white: White = TYPES_WHITE
) -> NDArray[np.uint8] | None:
    """Return image `row` of a set, whole, made smaller if a side is longer than `SIDE`; None if it is gone.

    Args:
        samples: the set.
        row: the image's row.
        max_pixels: an image with more pixels is not decoded.
        white: which value of more than 8 bits is white.

    Returns:
        uint8 `[H, W, C]`, C = 1 or 3.
    """
    found = read_sample(samples, row, max_pixels, (3, SIDE, SIDE), "pad", white=white).image
    if found is None:
        return None
    pixels = found.pixels
    if max(pixels.shape[:2]) <= SIDE:
        return np.array(pixels)
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(image.height, image.width, -1)
