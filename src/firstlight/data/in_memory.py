"""One image that Python holds, whatever it is, as the bytes of a file or as pixels uint8 `[H, W, C]`."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from firstlight.data.eight_bits import gray_or_rgb
from firstlight.errors import DataError, ImageError, WrongTypeError, kind_of
from firstlight.files import read_regular
from firstlight.white import FULL_WHITE, TYPES_WHITE, White

ONE_IMAGE = (
    "the path or the bytes of a file, a PIL image, a NumPy array [H, W] or [H, W, C], or a torch tensor [C, H, W], "
    "with C = 1 or 3"
)


def image_content(given: Any) -> bytes | NDArray[np.uint8]:
    """Return an image as the bytes of its file, or as pixels uint8 `[H, W, C]`, C = 1 or 3.

    Args:
        given: what `ONE_IMAGE` says; or a dict with the bytes or the path of a file, as Hugging Face data sets have it.

    Raises:
        ImageError: with the reason, if this image cannot be used.
        WrongTypeError: if it is anything else.
    """
    if isinstance(given, Mapping) and (given.get("bytes") is not None or given.get("path") is not None):
        given = given["bytes"] if given.get("bytes") is not None else given["path"]
    if is_missing(given):
        raise ImageError("the picture is missing")
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if isinstance(given, str | os.PathLike):
        try:
            return read_regular(Path(given).expanduser())
        except (OSError, ValueError) as error:
            raise ImageError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if isinstance(given, Image.Image):
        return pixels_of(given)
    if isinstance(given, np.ndarray) or hasattr(given, "detach"):
        try:
            return to_uint8(_one(given))
        except ImageError:
            raise
        except DataError as error:
            raise ImageError(str(error)) from None
    raise WrongTypeError(f"{kind_of(given)} is not a picture; give {ONE_IMAGE}")


def is_image(given: Any) -> bool:
    """Return whether this is, by its type, one image in memory; a path is not."""
    if isinstance(given, np.ndarray) or hasattr(given, "detach"):
        return given.ndim in (2, 3)
    return isinstance(given, bytes | bytearray | memoryview | Image.Image)


def is_missing(given: Any) -> bool:
    """Return whether a cell of a table is empty: None, NaN or NA."""
    is_nan = isinstance(given, float) and math.isnan(given)
    return given is None or is_nan or type(given).__name__ in ("NAType", "NaTType")


def pixels_of(image: Image.Image, white: White = TYPES_WHITE) -> NDArray[np.uint8]:
    """Return the pixels of a PIL image, upright, as a file of it would be decoded: uint8 `[H, W, C]`, C = 1 or 3.

    Raises:
        ImageError: if Pillow cannot read it.
    """
    try:
        image.load()
        if not isinstance(image, TiffImageFile) and image.getexif().get(0x0112, 1) != 1:  # orientation
            image = ImageOps.exif_transpose(image)
        return gray_or_rgb(image, [], white)
    except ImageError:
        raise
    except Exception as error:  # Pillow reads when asked for pixels, and fails in many ways
        raise ImageError(f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from error


def as_array(values: Any) -> NDArray[Any]:
    """Return an array, or a tensor on any device as an array; this does not import torch.

    Raises:
        DataError: if it is a tensor of a number type that NumPy does not have, or hides values behind a mask.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError("some values are masked; fill them in, for example with `.filled(0)`")
    if hasattr(values, "detach"):
        try:
            return np.asarray(values.detach().cpu().numpy())
        except TypeError:
            raise DataError(f"the tensor is {values.dtype}; give uint8 in 0..255, or floats in 0..1") from None
    return np.asarray(values)


def is_deep(pixels: NDArray[Any]) -> bool:
    """Return whether an array is uint16, of which fewer bits may be used."""
    return pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2


def to_uint8(pixels: NDArray[Any], white: White = TYPES_WHITE) -> NDArray[np.uint8]:
    """Return pixels of any shape as uint8.

    uint8 is taken as it is, floats are scaled from 0..1, uint16 from 0 to the white of its set, or to 65535; what is
    brighter is clipped. Other types and ranges are refused, because it would be a guess which value is white.

    Raises:
        DataError: if the type or the range is any other.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "biuf":
        raise DataError(f"pixels are {pixels.dtype}, not numbers; give uint8 in 0..255, or floats in 0..1")
    low, high = pixels.min(), pixels.max()
    limit = {"u2": FULL_WHITE, "f2": 1, "f4": 1, "f8": 1}.get(pixels.dtype.str[1:])
    if limit is None or not (low >= 0 and high <= limit):  # this order also refuses NaN
        raise DataError(_unknown_range(pixels.dtype, low, high))
    scale = 255 / (white.integers or limit if is_deep(pixels) else limit)
    scaled: NDArray[np.uint8] = np.rint(np.minimum(pixels.astype(np.float32) * scale, 255)).astype(np.uint8)
    return scaled


def _unknown_range(kind: np.dtype[Any], low: Any, high: Any) -> str:
    """Return the message about pixels of which it is unknown which value is white."""
    wanted = "give uint8 in 0..255, or floats in 0..1"
    if np.isnan(low):  # then so is the highest
        return f"pixels are {kind}, and some are NaN; {wanted}"
    advice = ", without a Normalize step" if kind.kind == "f" and low < 0 else ""
    if kind.kind in "iu" and low >= 0 and high <= 255:
        advice = ", as `.astype('uint8')` makes them"
    if kind.kind == "f" and low >= 0:
        advice = "; divide them by the value that is white"
    return f"pixels are {kind} from {float(low):g} to {float(high):g}; {wanted}{advice}"


def _one(given: Any) -> NDArray[Any]:
    """Return one array or tensor as an array `[H, W, C]` of its own type."""
    pixels, is_tensor = as_array(given), hasattr(given, "detach")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif pixels.ndim == 3 and is_tensor:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        layout = (
            "a tensor is [C, H, W], as permute(2, 0, 1) makes it" if is_tensor else "an array is [H, W] or [H, W, C]"
        )
        raise ImageError(f"it has shape {tuple(given.shape)}; {layout}, with C = 1 or 3")
    return pixels
