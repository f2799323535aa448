"""Convert pixels of any type to uint8: gray or RGB, drawn on white where the image is transparent.

Integers of more than 8 bits, and floats, are scaled to 0..255. What becomes white is chosen for a whole set, see
`firstlight.white`. For an image alone it is the range of its type: 2^bits - 1 for 9 to 16 bits (32,767 if signed), and
65,535 for 32-bit integers, which hold 16-bit images in practice; floats are taken as 0..1; if some exceed 1, as 0..255;
if some exceed 255, as 0..65535. An image with other values (negative, larger, not a number) has no known white: it is
refused. Only an image that is brighter than the set's white, but not than its type's, is clipped, with a note.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from firstlight.errors import ImageError
from firstlight.white import OVERSHOOT, TYPES_WHITE, White


def gray_or_rgb(image: Image.Image, notes: list[str], white: White = TYPES_WHITE) -> NDArray[np.uint8]:
    """Return the pixels of a loaded image of any mode, uint8 `[H, W, C]`, C = 1 (gray) or 3 (RGB).

    Args:
        image: as Pillow has loaded it.
        notes: a list that receives a note for each decision made here.
        white: of the set that the image belongs to, or of the model.

    Raises:
        ImageError: if it is unknown which value is white.
    """
    return _scale_to_uint8(image, notes, white) if is_deep(image) else _flatten(image, notes)


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has integers of more than 8 bits, or floats."""
    return image.mode[0] in "IF"


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


def _scale_to_uint8(image: Image.Image, notes: list[str], of_set: White) -> NDArray[np.uint8]:
    """Scale integers of more than 8 bits, and floats, to 0..255 by the white of their set, else of their type."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ImageError(
            "it holds values that are not numbers (NaN or infinite), so their gray level is unknown; save it with 8 "
            "or 16 bits"
        )
    low, high = float(values.min()), float(values.max())
    half_level, chosen = 0.0, of_set.floats if image.mode == "F" else of_set.integers
    if image.mode == "F":
        half_level = OVERSHOOT
        limit = 1.0 if high <= 1 + half_level else 255.0 if high <= 255 else 65535.0
        white = chosen or limit
        notes.append(f"floats taken as 0..{white:g}")
    else:
        limit = _integer_white(image)
        white = min(chosen or limit, limit)
        if image.mode == "I" or white < limit:
            notes.append(f"integers taken as 0..{white:.0f}" + ", by the brightest of the set" * (white < limit))
    if low < -half_level or high > max(limit, 1 + half_level):
        raise ImageError(
            f"its values go from {low:g} to {high:g}, so it is unclear which value is white; save it with 8 or 16 bits"
        )
    if high > white + half_level:
        notes.append("brighter than the white of its set, clipped")
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
