"""The image formats that are read, recognized by content, and names for what other files hold."""

import ctypes
import io
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from PIL import _imaging
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile, DibImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from firstlight.data.bombs import refuse_bomb
from firstlight.errors import ImageError

FORMATS_READ = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF, and HEIC"

# MPEG's container holds pictures and videos; its first bytes say which: a size, `ftyp`, the main brand, a version, and
# then all brands.
_MAGIC = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM|[\x28\x40\x6c\x7c]\0\0\0.{8}\x01\0", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\0(?!.{4}CR)|MM\0[*+]", re.DOTALL),
    "PPM": re.compile(rb"P[1-6]\s+(#|\d)|P[Ff]\s+\d"),
    "AVIF": re.compile(rb"....ftyp(avif|avis|mif1.{4}(.{4}){0,7}avif)", re.DOTALL),
    "HEIC": re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
}
# Other content that people often have, so that the message can say what to do.
_OTHER_CONTENT = {
    "a camera's raw file; export it as JPEG or TIFF": re.compile(
        rb"II\*\0.{4}CR|....ftypcrx|IIU\0|II(RO|RS)|MMOR|FUJIFILMCCD-RAW", re.DOTALL
    ),
    "a video; export its frames as pictures": re.compile(
        rb"....(ftyp|moov|mdat)|RIFF....AVI |\x1a\x45\xdf\xa3|\0\0\x01[\xba\xb3]|0&\xb2u\x8ef\xcf\x11|FLV\x01",
        re.DOTALL,
    ),
    "DICOM, which is not read; export it as PNG or TIFF": re.compile(rb".{128}DICM", re.DOTALL),
    "JPEG XL, which is not read; convert it to PNG or JPEG": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "JPEG 2000, which is not read; convert it to PNG": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "OpenEXR, which is not read; export it as PNG or TIFF": re.compile(rb"v/1\x01"),
    "a NumPy array; pass it to fl.train or fl.predict in Python": re.compile(rb"\x93NUMPY"),
    "HDF5; pass its arrays to fl.train or fl.predict in Python": re.compile(rb"\x89HDF"),
    "an icon (ICO); export it as PNG": re.compile(rb"\0\0\x01\0[\x01-\xff]\0.{3}\0", re.DOTALL),
    "a Photoshop document; export it as PNG": re.compile(rb"8BPS"),
    "a PDF; export its pages as pictures": re.compile(rb"%PDF"),
    "PostScript; export it as PNG": re.compile(rb"%!PS"),
    "a vector drawing (SVG); export it as PNG": re.compile(
        rb"(\xef\xbb\xbf)?\s*(<\?xml.*?)?(<!--.*?-->\s*)?(<!doctype svg.*|<svg)", re.DOTALL | re.IGNORECASE
    ),
    "a web page; perhaps it was saved instead of the picture": re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE),
    "a Git LFS pointer; fetch the file itself with git lfs pull": re.compile(rb"version https://git-lfs"),
    "an archive; unpack it": re.compile(rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf"),
    "only zeros": re.compile(rb"\0+\Z"),
    "text, not a picture": re.compile(rb"([\t\n\r -~]|[\xc2-\xf4][\x80-\xbf]{0,3})+\Z"),
}
LIST_SUFFIXES = (".csv", ".tsv", ".parquet")
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), "PPM"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    ".webp": "WebP",
    ".gif": "GIF",
}
# Cameras' raw files that are TIFFs by content; what a reader of TIFFs finds in them is a thumbnail.
_RAW_SUFFIXES = {".nef", ".nrw", ".arw", ".sr2", ".srf", ".dng", ".pef", ".srw", ".3fr", ".iiq", ".erf", ".kdc", ".dcr"}

_BANDS, _BITS, _SAMPLE_FORMAT = 277, 258, 339  # tags of TIFF
_NUMBERS = {1: "integers", 2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}


def kind_of(data: bytes, suffix: str = "") -> str:
    """Return the format of a file by its content.

    Args:
        data: the file's bytes.
        suffix: the end of its name, in lower case, which only tells a camera's raw file from a TIFF.

    Raises:
        ImageError: if it is no format that is read, with what it is if that is known.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    kind = next((kind for kind, magic in _MAGIC.items() if magic.match(data[:64])), None)
    if kind == "TIFF" and suffix in _RAW_SUFFIXES:
        raise ImageError("holds a camera's raw file; export it as JPEG or TIFF")
    if kind is not None:
        return kind
    for what, magic in _OTHER_CONTENT.items():
        if magic.match(data[:4096]):
            raise ImageError(f"holds {what}")
    raise ImageError(
        f"not a picture in a format that can be read ({FORMATS_READ}), whatever its name; convert or remove it"
    )


def open_image(kind: str, data: bytes) -> ImageFile:
    """Return a file as Pillow opens it, its pixels not yet loaded.

    Raises:
        ImageError: if it has far too many parts, or is HEIC and its reader is not installed.
        Exception: nearly any, as Pillow's readers do on damaged bytes.
    """
    refuse_bomb(kind, data)
    _quiet_pillow()
    return _READERS[kind](io.BytesIO(data))


def unread_tiff(data: bytes) -> str | None:
    """Return in words which kind of TIFF this is, if it has bands and types that Pillow does not know; else None."""
    try:
        bands, bits, number = _tiff_samples(data)
    except Exception:  # as for all readers, whatever damaged bytes raise
        return None
    kind = _NUMBERS.get(number, "values")
    if bands in (1, 3, 4) and number == 1 and bits in (8, 16):
        return None
    what = "1 band" if bands == 1 else f"{bands} bands"
    return f"holds a TIFF of {what} of {bits}-bit {kind}, which is not read; export one band or three as 8 bits"


def dropped_bands(image: ImageFile) -> str | None:
    """Return a note on the bands of a TIFF that Pillow leaves out, if there are any."""
    bands = image.tag_v2.get(_BANDS, 1) if isinstance(image, TiffImageFile) else 0
    kept = len(image.getbands())
    return f"the first {kept} of {bands} bands were used" if bands > kept and image.mode != "P" else None


def _tiff_samples(data: bytes) -> tuple[int, int, int]:
    """Return how many bands a TIFF has, of how many bits, and the number of their kind, by its first directory."""
    big = data[2:3] == b"+" or data[3:4] == b"+"
    directory = ImageFileDirectory_v2(data[: 16 if big else 8])
    file = io.BytesIO(data)
    file.seek(directory.next)
    directory.load(file)
    bits, number = directory.get(_BITS, (1,)), directory.get(_SAMPLE_FORMAT, (1,))
    return int(directory.get(_BANDS, 1)), int(bits[0]), int(number[0])


@cache
def _quiet_pillow() -> None:
    """Keep messages of Pillow and libtiff off the terminal: each file gets its own reason or note."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):  # a Pillow without libtiff, or a system that hides its symbols
        library = ctypes.CDLL(_imaging.__file__)
        for handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)


def _open_bmp(file: io.BytesIO) -> ImageFile:
    return BmpImageFile(file) if file.getvalue().startswith(b"BM") else DibImageFile(file)


def _open_heic(file: io.BytesIO) -> ImageFile:
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError:
        raise ImageError("holds HEIC; to read it, run: pip install 'firstlight[heif]'") from None
    reader: Callable[[io.BytesIO], ImageFile] = HeifImageFile
    return reader(file)


_READERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,  # read as plain JPEG, a multi-image file gives its first image
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": _open_bmp,
    "TIFF": TiffImageFile,
    "PPM": PpmImageFile,
    "AVIF": AvifImageFile,
    "HEIC": _open_heic,
}
