"""Decode JPEG files fast, at the lowest sufficient resolution, falling back to Pillow when unsure."""

import math

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile

from firstlight.resize import parse_resize

MIN_OVERSAMPLING = 2  # decoded pixels per pixel of the network, per side, of the part that is kept
MIN_DECODED_SIDE = 128  # pixels: duplicates are found by what was decoded
# Pixels per side. In smaller images 7/8 of the size rounds up to the whole size, and the smaller scale would be used.
MIN_DIRECT_SIDE = 8
COLOR_SPACES = {"L": "GRAY", "RGB": "RGB"}  # Pillow's modes in libjpeg-turbo's words; Pillow decodes all others


def min_decoded_side(input_size: tuple[int, int, int], resize: str) -> int:
    """Return the least side, in pixels, that an image may be decoded to before it is resized to a network's size.

    Args:
        input_size: the network's (C, H, W).
        resize: `crop`, `crop:FRACTION`, `pad` or `squash`.

    Raises:
        RecipeError: if there is no such `resize`.
    """
    _, fraction = parse_resize(resize)
    return max(math.ceil(MIN_OVERSAMPLING * max(input_size[1:]) / fraction), MIN_DECODED_SIDE)


def decode_smaller(image: Image, min_side: int | None) -> tuple[int, int] | None:
    """Set an opened JPEG to be decoded at 1/2, 1/4 or 1/8 of its size, if both sides keep `min_side` pixels.

    Returns:
        The full width and height if that makes the image smaller, else None.
    """
    if min_side is None or not isinstance(image, JpegImageFile):
        return None
    stored = image.size
    image.draft(None, (min_side, min_side))
    return stored if image.size != stored else None


def decode_jpeg(image: JpegImageFile, data: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels that Pillow would, uint8 `[H, W, C]`, but faster; None if Pillow has to decode the file.

    This calls the library that Pillow uses, libjpeg-turbo, for an array instead of an image of Pillow's own. Tiny
    images are left to Pillow, and so is whatever libjpeg-turbo only warns about (a file that ends early, garbage
    between the markers), because Pillow accepts more of those.

    Args:
        image: the opened file, its pixels not yet loaded; as `draft` left it if it is decoded smaller.
        data: the file's bytes.
    """
    width, height = image.size
    if image.mode not in COLOR_SPACES or max(width, height) < MIN_DIRECT_SIDE:
        return None
    color_space = COLOR_SPACES[image.mode]
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, color_space, min_height=height, min_width=width)
    except (ValueError, RuntimeError):
        return None
    return pixels if pixels.shape[:2] == (height, width) else None
