"""Decoding in other processes, against the Predictor's own reading: the same pixels and the same reasons."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from firstlight.inference.decoding import Decoders, Limits
from firstlight.inference.inputs import Item, Target, read_item, read_whole
from firstlight.white import White

TARGET = Target((3, 32, 32), "crop:0.875", 1_000_000, White())


@pytest.fixture(scope="module")
def decoders():
    with Decoders(TARGET, 1) as decoders:
        yield decoders


def photo(side: int = 300) -> Image.Image:
    rows, columns = np.mgrid[:side, : side + 40]
    noise = np.random.default_rng(0).integers(0, 60, (side, side + 40, 3))
    return Image.fromarray((np.stack([rows % 190, columns % 180, (rows + columns) % 170], axis=2) + noise).astype("u1"))


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def files() -> dict[str, bytes]:
    image = photo()
    deep = Image.fromarray((np.arange(90_000, dtype=np.uint32).reshape(300, 300) % 65_536).astype("u2"))
    made = {kind: file_of(image, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")}
    made |= {f"upright {number}": file_of(image, "JPEG", exif=exif(number)) for number in range(1, 9)}
    made |= {
        "large JPEG": file_of(photo(900), "JPEG"),
        "progressive": file_of(image, "JPEG", progressive=True),
        "CMYK": file_of(image.convert("CMYK"), "JPEG"),
        "alpha": file_of(image.convert("RGBA").rotate(30), "PNG"),
        "palette": file_of(image.convert("P"), "PNG", transparency=3),
        "one bit": file_of(image.convert("1"), "PNG"),
        "16 bits": file_of(deep, "PNG"),
        "floats": file_of(deep.convert("F"), "TIFF"),
        "animation": file_of(image, "GIF", save_all=True, append_images=[image.rotate(90), image]),
        "right size": file_of(image.resize((32, 32)), "PNG"),
        "empty": b"",
        "text": b"not a picture",
        "ends early": file_of(image, "PNG")[:2000],
        "flipped": file_of(image, "PNG").replace(b"IDAT", b"IDAT\0", 1),
        "too many pixels": file_of(Image.new("L", (1001, 1000)), "PNG"),
        "raw": b"BM not quite",
    }
    return made


FILES = files()


def same(found: np.ndarray | str, expected: np.ndarray | str) -> bool:
    return found == expected if isinstance(expected, str) else np.array_equal(found, expected)


@pytest.mark.parametrize("name", FILES)
def test_pixels_and_reasons_are_those_of_the_predictor(decoders, name):
    expected = read_item(Item(FILES[name], "upload"), TARGET)
    assert same(decoders.read(FILES[name], "upload"), expected)
    assert isinstance(expected, str) == (name in {"empty", "text", "ends early", "flipped", "too many pixels", "raw"})


@pytest.mark.parametrize("name", ["JPEG", "large JPEG", "alpha", "right size", "upright 6", "text"])
def test_whole_pictures_are_those_of_the_predictor(decoders, name):
    assert same(decoders.read_whole(FILES[name], 100), read_whole(Item(FILES[name]), TARGET, 100))


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_way_of_resizing_gives_the_same_pixels(resize, channels):
    target = Target((channels, 24, 40), resize, 1_000_000, White(4095))
    with Decoders(target, 1) as decoders:
        for name in ("JPEG", "16 bits", "alpha"):
            assert same(decoders.read(FILES[name]), read_item(Item(FILES[name]), target))


def test_names_that_are_no_unicode_are_taken(decoders):
    assert same(decoders.submit(FILES["PNG"], "caf\udce9\0.jpg").result(), read_item(Item(FILES["PNG"]), TARGET))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_picture_that_takes_too_much_is_refused_with_the_limit():
    large = file_of(Image.new("RGB", (2500, 2500)), "PNG")
    target = Target((3, 32, 32), "crop", 50_000_000, White())
    with Decoders(target, 1, Limits(memory=20_000_000)) as decoders:
        assert decoders.read(large) == "decoding needs more than 0.02 GB of memory"
        assert not isinstance(decoders.read(FILES["PNG"]), str)
    with Decoders(target, 1, Limits(cpu_seconds=0.01)) as decoders:
        assert decoders.read(large) == "decoding takes longer than 0.01 s"
        assert not isinstance(decoders.read(FILES["right size"]), str)
