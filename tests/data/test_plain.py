"""Which files are decoded in this process: those whose decoders have little to do, whatever the rest of the file is."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from firstlight.data.plain import MAX_JPEG_PIXELS, is_plain

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 200, (50, 60, 3), np.uint8))
DEEP = Image.fromarray(np.zeros((9, 9), np.uint16))


def file_of(kind: str, image: Image.Image = IMAGE, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def stating(side: int, **options) -> bytes:
    """A JPEG that states another size."""
    data = file_of("JPEG", **options)
    return data.replace(struct.pack(">HH", 50, 60), struct.pack(">HH", side, side), 1)


PLAIN = {
    **{kind: file_of(kind) for kind in ("JPEG", "PNG", "BMP", "TIFF", "PPM")},
    "gray JPEG": file_of("JPEG", IMAGE.convert("L")),
    "turned JPEG": file_of("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
    "palette": file_of("PNG", IMAGE.convert("P")),
    "alpha": file_of("PNG", IMAGE.convert("RGBA")),
    "one bit": file_of("PNG", IMAGE.convert("1")),
    "gray TIFF": file_of("TIFF", IMAGE.convert("L")),
}
OTHERS = {
    **{kind: file_of(kind) for kind in ("WEBP", "GIF", "AVIF")},
    "progressive": file_of("JPEG", progressive=True),
    "CMYK": file_of("JPEG", IMAGE.convert("CMYK")),
    "large JPEG": stating(int(MAX_JPEG_PIXELS**0.5) + 1),
    "comments": (jpeg := file_of("JPEG"))[:2] + b"\xff\xfe\0\2" * 100 + jpeg[2:],
    "fill bytes": jpeg[:2] + b"\xff" * 100 + jpeg[2:],
    "two frame headers": jpeg[:2] + jpeg[(place := jpeg.index(b"\xff\xc0")) : place + 19] + jpeg[2:],
    "long header": jpeg[:2] + (b"\xff\xe1\xff\xff" + bytes(65_533)) * 5 + jpeg[2:],
    "deep PNG": file_of("PNG", DEEP),
    "animated PNG": file_of("PNG", save_all=True, append_images=[IMAGE.rotate(90)]),
    "large PNG": file_of("PNG", Image.new("1", (2001, 2000))),
    "packed TIFF": file_of("TIFF", compression="tiff_lzw"),
    "deep TIFF": file_of("TIFF", DEEP),
    "TIFF of two": file_of("TIFF", save_all=True, append_images=[IMAGE]),
    "packed BMP": file_of("BMP", IMAGE.convert("P"))[:30] + b"\1" + file_of("BMP", IMAGE.convert("P"))[31:],
    "large PPM": b"P6 9000 9000 255\n",
    "empty": b"",
    "text": b"not a picture",
}


@pytest.mark.parametrize("name", PLAIN)
def test_ordinary_files_are_plain(name):
    assert is_plain(PLAIN[name])


@pytest.mark.parametrize("name", OTHERS)
def test_what_may_take_long_or_much_is_not(name):
    assert not is_plain(OTHERS[name])


def test_a_scan_of_some_components_only_is_not():
    """All of them would be kept in memory until the last scan."""
    scan = jpeg.index(b"\xff\xda")
    assert not is_plain(jpeg[: scan + 4] + b"\1" + jpeg[scan + 5 :])


@pytest.mark.parametrize("name", PLAIN)
def test_files_that_end_early_raise_nothing(name):
    data = PLAIN[name]
    for end in range(min(len(data), 700)):
        is_plain(data[:end])
