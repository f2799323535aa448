"""Decode one image file to upright uint8 pixels, and resize the pixels to a network's size.

The format is found by content, never by the file's name. Whatever the decoder has to decide (first frame, orientation,
transparency) becomes a note; a file that cannot be decoded raises an `ImageError` with the reason.
"""

import hashlib
import re
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.TiffTags import TAGS_V2_GROUPS
from PIL.WebPImagePlugin import WebPImageFile

from firstlight.data.bombs import refuse_scans, refuse_size
from firstlight.data.eight_bits import gray_or_rgb, is_deep
from firstlight.data.formats import SUFFIXES, dropped_bands, kind_of, open_image, unread_tiff
from firstlight.data.jpeg import decode_jpeg, decode_smaller, min_decoded_side
from firstlight.data.recipe import DataRecipe
from firstlight.errors import ImageError
from firstlight.resize import parse_resize, seen_part
from firstlight.white import TYPES_WHITE, White

MAX_PIXELS = DataRecipe.max_pixels
PAD_GRAY = 114  # gray level of padding: the mean of photographs, 0.449 of white, about zero once normalized

# Makes stored pixels [H, W, C] upright, for each EXIF orientation except 1, which is upright already.
_TO_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
_SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap height and width

# What readers say of a file that ends too early.
_ENDS_EARLY = ("truncated", "requires a buffer of", "insufficient input data")
# What Pillow says of a TIFF that is not damaged, but of bands or types that it does not read.
_UNKNOWN_TO_PILLOW = {"unknown pixel mode", "Invalid value for samples per pixel"}
# Entries of Pillow's `info` that may hold an orientation.
_ORIENTATION_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}

_PILLOW_FOLDER = str(Path(PIL.__file__).parent)
_recording_warnings = threading.Lock()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        pixels: uint8 `[H, W, C]`, C = 1 (gray) or 3 (RGB), upright, drawn on white.
        mode: the file's own mode, as Pillow names it, such as `L`, `RGB`, `P`, `CMYK`, `I;16`, `F`.
        notes: what the decoder had to decide, such as `first of several frames`; the
            same words for the same decision, without numbers of one image.
        size: height and width of the full image, upright; larger than those of `pixels` if it was decoded smaller.
        brightest: the white that its largest value suggests, if it has more than 8 bits.
        values: a digest of its values, if it has more than 8 bits; images whose `pixels` are the same may differ.
    """

    pixels: NDArray[np.uint8]
    mode: str
    notes: tuple[str, ...]
    size: tuple[int, int]
    brightest: White = TYPES_WHITE
    values: bytes = b""

    @property
    def reduced(self) -> bool:
        """Whether the image was decoded smaller than it is."""
        return self.pixels.shape[:2] != self.size


def decode(
    data: bytes,
    *,
    name: str = "",
    max_pixels: int = MAX_PIXELS,
    input_size: tuple[int, int, int] | None = None,
    resize: str = "crop",
    white: White = TYPES_WHITE,
) -> DecodedImage:
    """Decode an image file of any of `formats.FORMATS_READ`.

    Gray (also 1-bit, and gray with alpha) stays one channel; palette, CMYK, YCbCr and LAB become RGB. Alpha is drawn
    on white, EXIF orientation is applied, and an animation gives its first frame. Integers of more than 8 bits and
    floats are scaled as described in `eight_bits`. Thread-safe.

    Args:
        data: the file's bytes.
        name: the file's name, used only to note an extension that does not match the content.
        max_pixels: an image with more pixels is refused before they are decoded.
        input_size: the network's (C, H, W), if the image will be resized to it. A JPEG is then decoded at 1/2, 1/4 or
            1/8 of its size where that leaves twice the network's sides, and 128 pixels, which is much faster.
        resize: how it will be resized, see `resize_image`; an image of which less is kept is decoded finer.
        white: which value of more than 8 bits is white.

    Raises:
        ImageError: with the reason, if the bytes are not such an image, are damaged, or hold too many pixels.
        RecipeError: if there is no such `resize`.
    """
    min_side = None if input_size is None else min_decoded_side(input_size, resize)
    notes: list[str] = []
    suffix = name[name.rfind(".") :].lower()
    kind = kind_of(data, suffix)
    if SUFFIXES.get(suffix, kind) != kind:
        notes.append(f"named {suffix} but holds {kind}")
    try:
        with warnings_as(notes):
            image = open_image(kind, data)
            _read_late_tags(image)
        _check_size(*image.size, max_pixels)
        if image.info.get("progressive"):
            refuse_scans(data, *image.size)
        if (dropped := dropped_bands(image)) is not None:
            notes.append(dropped)
        mode = image.mode
        if kind == "PNG":
            _check_png_data(data)
        applied_by_pillow = image.tag_v2.get(0x0112, 1) if isinstance(image, TiffImageFile) else 1
        stored = decode_smaller(image, min_side)
        pixels = decode_jpeg(image, data) if isinstance(image, JpegImageFile) else None
        if pixels is None:
            image.load()
            pixels = gray_or_rgb(image, notes, white)
        brightest, values = _deep_values(image) if is_deep(image) else (TYPES_WHITE, b"")
        orientation = _orientation(image, notes)
        if kind == "PNG" and data[25] == 4:  # gray with alpha, which Pillow reads as color if it has 16 bits
            pixels = pixels[:, :, :1]
        pixels = np.ascontiguousarray(_TO_UPRIGHT.get(orientation, np.ascontiguousarray)(pixels))
        height, width = (stored if orientation in _SIDEWAYS else stored[::-1]) if stored else pixels.shape[:2]
        if {orientation, applied_by_pillow} & _TO_UPRIGHT.keys():
            notes.append(f"EXIF orientation {max(orientation, applied_by_pillow)} applied")
        _note_frames(image, notes)
    except (ImageError, MemoryError):  # too little memory is no fault of the image
        raise
    # Pillow's readers raise nearly any exception on hostile bytes; whichever it is, this image cannot be used.
    except Exception as error:
        raise _failure(kind, data, error) from error
    return DecodedImage(pixels, mode, tuple(dict.fromkeys(notes)), (height, width), brightest, values)


def image_size(data: bytes) -> tuple[int, int]:
    """Return the height and width of an image file as its header states them, in pixels; nothing is decoded.

    Raises:
        ImageError: if the bytes are not an image, or their header is damaged.
    """
    try:
        with warnings_as([]):
            width, height = open_image(kind_of(data), data).size
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise nearly any exception on hostile bytes
        raise ImageError("its header is damaged") from error
    return height, width


def resize_image(pixels: NDArray[np.uint8], input_size: tuple[int, int, int], resize: str) -> NDArray[np.uint8]:
    """Return an image resized to a network's size; packing and predicting both do it here.

    `crop` keeps the largest centered part that has the network's proportions; `crop:0.875` keeps that fraction of its
    height and width; `pad` keeps everything and adds gray bars (`PAD_GRAY`) on both sides of the shorter dimension;
    `squash` scales height and width independently. Crops are at whole pixels. Scaling is bilinear with antialiasing.
    An image of the right size of which everything is kept is returned unchanged.

    Args:
        pixels: uint8 `[H, W, C]`, C = 1 or 3.
        input_size: the network's (C, H, W); gray is repeated to 3 channels, color becomes ITU-R 601 luma for 1.
        resize: `crop`, `crop:FRACTION`, `pad` or `squash`; see `resize.parse_resize`.

    Returns:
        uint8 `[H, W, C]` of `input_size`.

    Raises:
        RecipeError: if there is no such `resize`.
    """
    _, fraction = parse_resize(resize)
    channels, height, width = input_size
    assert channels in (1, 3), input_size
    if channels == 1 and pixels.shape[2] == 3:
        pixels = np.array(Image.fromarray(pixels).convert("L"))[:, :, None]
    if pixels.shape[:2] != (height, width) or fraction < 1:
        pixels = _scale(pixels, height, width, resize)
    if channels == 3 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels


def _scale(pixels: NDArray[np.uint8], height: int, width: int, resize: str) -> NDArray[np.uint8]:
    # torch scales photographs twice as fast as Pillow, to the same gray levels within one
    from torch import from_numpy
    from torch.nn.functional import interpolate

    rows, columns, channels = pixels.shape
    method, _ = parse_resize(resize)
    inner_height, inner_width = height, width
    if method == "crop":
        top, left, kept_rows, kept_columns = seen_part(rows, columns, (channels, height, width), resize)
        pixels = pixels[top : top + kept_rows, left : left + kept_columns]
    elif method == "pad":
        step = max(columns / width, rows / height)
        inner_height, inner_width = max(1, round(rows / step)), max(1, round(columns / step))
    # note: with a batch axis added by torch the image counts as channels-last, which is twice as fast; with NumPy's not
    # torch warns of arrays that it may not write to, such as np.asarray(PIL image); a copy costs little beside scaling
    image = from_numpy(pixels if pixels.flags.writeable else pixels.copy())[None].permute(0, 3, 1, 2)
    scaled = interpolate(image, size=(inner_height, inner_width), mode="bilinear", antialias=True)
    inner: NDArray[np.uint8] = np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())
    if inner.shape[:2] == (height, width):
        return inner
    padded = np.full((height, width, channels), PAD_GRAY, np.uint8)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    padded[top : top + inner_height, left : left + inner_width] = inner
    return padded


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} is {width * height:,} pixels, more than the limit of {max_pixels:,}; make it "
            "smaller, or raise `max_pixels`"
        )
    if width < 1 or height < 1:
        raise ImageError(f"{width} x {height}: it has no pixels")
    refuse_size(width, height)


def _deep_values(image: Image.Image) -> tuple[White, bytes]:
    """Return the white that an image of more than 8 bits suggests, and a digest of its values."""
    values = np.ascontiguousarray(image)
    high = float(values.max())
    digest = hashlib.blake2b(repr(values.shape).encode() + values.dtype.str.encode(), digest_size=16)
    digest.update(values.data)
    return White.of(floats=high) if image.mode == "F" else White.of(integers=high), digest.digest()


def _check_png_data(data: bytes) -> None:
    """Verify the checksums of a PNG's pixel data, the only ones that Pillow does not check."""
    view, position = memoryview(data), 8  # slices of a view copy nothing
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(view[position : position + 4], "big")
        is_pixels = data[position + 4 : position + 8] == b"IDAT" and end + 4 <= len(data)
        if is_pixels and zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ImageError("damaged PNG: its pixel data does not match its checksum")
        position = end + 4


def _read_late_tags(image: Image.Image) -> None:
    """Read the tags of a TIFF that Pillow else reads after the pixels, where nobody records its warnings."""
    if not isinstance(image, TiffImageFile):
        return
    exif = image.getexif()
    for group in TAGS_V2_GROUPS:
        if group in exif:
            exif.get_ifd(group)


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """Return the EXIF orientation; 1, with a note, if the EXIF block cannot be read: the pixels may still be good."""
    if isinstance(image, TiffImageFile) or not _ORIENTATION_KEYS & image.info.keys():
        return 1  # Pillow's TIFF reader has already turned the image
    try:
        with warnings_as(notes):
            value = image.getexif().get(0x0112, 1)
    except Exception:
        notes.append("its EXIF data cannot be read, so the picture is assumed to be upright")
        return 1
    return value if isinstance(value, int) else 1


def _note_frames(image: ImageFile.ImageFile, notes: list[str]) -> None:
    """Note whether there are several frames. Called last: this reads on in the file, and may fail after a good frame.

    The frames are not counted: a small file may have a million.
    """
    if not isinstance(image, PngImageFile | WebPImageFile | GifImageFile | TiffImageFile | AvifImageFile):
        return
    try:
        with warnings_as(notes):
            several = getattr(image, "is_animated", False)  # missing from some PNG files that are not animations
            if several and isinstance(image, TiffImageFile):
                image.seek(1)  # Pillow has only seen that there is one
    except Exception:
        notes.append("only the first frame is used; later frames are damaged")
        return
    if several:
        notes.append("first of several frames")


@contextmanager
def warnings_as(notes: list[str]) -> Iterator[None]:
    """Turn Pillow's warnings, mostly about damaged metadata, into notes; other warnings are passed on.

    Note: recording warnings changes global state, so one thread does it at a time; only headers are read meanwhile.
    """
    with _recording_warnings, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if warning.filename.startswith(_PILLOW_FOLDER):
            notes.append(re.sub(r"\d+", "N", " ".join(str(warning.message).split())))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _failure(kind: str, data: bytes, error: Exception) -> Exception:
    """Return what a reader's exception means: too little memory, or an image that cannot be used."""
    return MemoryError() if "out of memory" in str(error) else ImageError(_reason(kind, data, error))


def _reason(kind: str, data: bytes, error: Exception) -> str:
    """Return in words why decoding failed, above all whether the file ends too early."""
    words = " ".join(str(error).split()) or type(error).__name__
    ends_early: dict[str, Callable[[], bool]] = {
        "JPEG": lambda: data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) < 0,
        "PNG": lambda: b"IEND" not in data[-64:],
        "WebP": lambda: int.from_bytes(data[4:8], "little") + 8 > len(data),
        "GIF": lambda: not data.rstrip(b"\0").endswith(b";"),
        "BMP": lambda: int.from_bytes(data[2:6], "little") > len(data),
    }
    if words in _UNKNOWN_TO_PILLOW and kind == "TIFF":
        with warnings_as([]):
            other = unread_tiff(data)
        if other is not None:
            return other
    if any(word in words.lower() for word in _ENDS_EARLY) or ends_early.get(kind, bool)():
        return f"truncated {kind}: the file ends before the picture does"
    return f"damaged {kind}: {words}"
