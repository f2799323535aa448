"""Convert pixels of any type to uint8: gray or RGB, drawn on white where the image is transparent.

Integers of more than 8 bits, and floats, are scaled to 0..255 by the range of their type. White is 2^bits - 1 for 9 to
16 bits (32,767 if signed), and 65,535 for 32-bit integers, which hold 16-bit images in practice. Floats are taken as
0..1; if some exceed 1, as 0..255; if some exceed 255, as 0..65535. An image with other values (negative, larger, not a
number) has no known white: it is refused, never clipped.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from firstlight.errors import ImageError


def gray_or_rgb(image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    """Return the pixels of a loaded image of any mode, uint8 `[H, W, C]`, C = 1 (gray) or 3 (RGB).

    Args:
        image: as Pillow has loaded it.
        notes: a list that receives a note for each decision made here.

    Raises:
        ImageError: if it is unknown which value is white.
    """
    return _scale_to_uint8(image, notes) if image.mode[0] in "IF" else _flatten(image, notes)


def _flatten(image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    """Convert an 8-bit image of any mode to gray or RGB, over white where it is transparent."""
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        layered = image.convert(mode + "A" if mode == "L" else "RGBA")
        alpha = layered.getchannel("A")
        image = layered.convert(mode)
        if alpha.getextrema() != (255, 255):
            notes.append("transparent, drawn on white")
            colors, image = image, Image.new(mode, image.size, "white")
            image.paste(colors, mask=alpha)
    elif image.mode != mode:
        image = image.convert(mode)
    pixels = np.array(image)
    return pixels[:, :, None] if mode == "L" else pixels


def _scale_to_uint8(image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    """Scale integers of more than 8 bits, and floats, to 0..255 by the range of their type."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ImageError(
            "it holds values that are not numbers (NaN or infinite), so their gray level is unknown; save it with 8 "
            "or 16 bits"
        )
    low, high = float(values.min()), float(values.max())
    half_level = 0.0
    if image.mode == "F":
        half_level = 0.5 / 255  # resizing a 0..1 image overshoots by less than this
        white = 1.0 if high <= 1 + half_level else 255.0 if high <= 255 else 65535.0
        notes.append(f"floats taken as 0..{white:.0f}")
    else:
        white = _integer_white(image)
        if image.mode == "I":
            notes.append(f"integers taken as 0..{white:.0f}")
    if low < -half_level or high > max(white, 1 + half_level):
        raise ImageError(
            f"its values go from {low:g} to {high:g}, so it is unknown which one is white; save it with 8 or 16 bits"
        )
    scaled = values.astype(np.float32) * (255 / white) + 0.5
    pixels: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(262) == 0:  # PhotometricInterpretation: white is zero
        pixels = 255 - pixels
    if (clear := image.info.get("transparency")) is not None:
        pixels[values == clear] = 255
        notes.append("transparent, drawn on white")
    return pixels[:, :, None]


def _integer_white(image: Image.Image) -> float:
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = min(int(tags.get(258, (16,))[0]), 16)  # BitsPerSample
    is_signed = tags.get(339, (1,))[0] == 2 and tags.get(258, (16,))[0] <= 16  # SampleFormat
    return float(2 ** (bits - is_signed) - 1)
