"""JPEG by the short way: no finer than needed, straight into an array; in any doubt Pillow decides."""

import math

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile

from firstlight.resize import parse_resize

FINER = 2  # sides of what is kept of a JPEG that is decoded to be fitted, at least, in those of the network
LEAST_SIDE = 128  # in pixels, at least: copies are found by what was decoded
EIGHTHS = 8  # pixels a side; of fewer, 7/8 rounded up are as many, and the smaller scale would be taken
COLORS = {"L": "GRAY", "RGB": "RGB"}  # Pillow's words for a mode, and libjpeg-turbo's; other modes take the long way


def enough_pixels(input_size: tuple[int, int, int], resize: str) -> int:
    """Tell how many pixels a side are fine enough for an image that will be fitted.

    Raises:
        RecipeError: if there is no such `fit`.
    """
    _, fraction = parse_resize(resize)
    return max(math.ceil(FINER * max(input_size[1:]) / fraction), LEAST_SIDE)


def decode_smaller(image: Image, enough: int | None) -> tuple[int, int] | None:
    """Have a JPEG decoded no finer than `enough` pixels a side; give its width and height if that makes it smaller."""
    if enough is None or not isinstance(image, JpegImageFile):
        return None
    stored = image.size
    image.draft(None, (enough, enough))
    return stored if image.size != stored else None


def decode_jpeg(image: JpegImageFile, data: bytes) -> NDArray[np.uint8] | None:
    """Give the pixels as Pillow would, uint8 `[H, W, C]`, but sooner; None if Pillow has to judge them.

    It is the library that Pillow has, libjpeg-turbo, asked for an array instead of for an image of Pillow's own.
    Whatever it only warns of (a file that ends early, rubbish between the markers) is left to Pillow, which knows more
    of them; tiny images as well.

    Args:
        image: the opened file, its pixels not yet loaded; as `draft` left it, if it is decoded smaller.
        data: the file's bytes.
    """
    width, height = image.size
    if image.mode not in COLORS or max(width, height) < EIGHTHS:
        return None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, COLORS[image.mode], min_height=height, min_width=width)
    except (ValueError, RuntimeError):
        return None
    return pixels if pixels.shape[:2] == (height, width) else None
