"""Files of kinds that few tools read are read, or called what they are, whatever their names say."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from firstlight.data.formats import SUFFIXES
from firstlight.data.images import decode
from firstlight.data.sources import load_data
from firstlight.errors import ImageError
from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier


@pytest.fixture(scope="module")
def color() -> np.ndarray:
    """A color picture with soft edges, uint8 [24, 32, 3]."""
    y, x = np.mgrid[0:24, 0:32]
    return np.stack([x * 8, y * 10, 255 - x * 4 - y * 4], axis=-1).clip(0, 255).astype(np.uint8)


def saved(pixels: np.ndarray, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def tiff(pixels: np.ndarray, sample_format: int, photometric: int = 1) -> bytes:
    """An uncompressed little-endian TIFF of any number of bands and any type."""
    height, width, bands = pixels.shape
    bits = pixels.dtype.itemsize * 8
    tags = {256: [width], 257: [height], 258: [bits] * bands, 259: [1], 262: [photometric], 273: [0], 277: [bands]}
    tags |= {278: [height], 279: [pixels.nbytes], 284: [1], 338: [0] * (bands - (3 if photometric == 2 else 1))}
    tags |= {339: [sample_format] * bands}
    tags = {tag: values for tag, values in tags.items() if values}
    place = 8 + 2 + 12 * len(tags) + 4
    start = place + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    table = extra = b""
    for tag, values in sorted(tags.items()):
        values = [start] if tag == 273 else values  # noqa: PLW2901
        data = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            extra, data, place = extra + data, struct.pack("<I", place), place + len(data)
        table += struct.pack("<HHI", tag, 4, len(values)) + data
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4) + extra + pixels.tobytes()


def reason(data: bytes, name: str = "x.jpg") -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, name=name)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["PPM", "DIB", "AVIF"])
def test_more_kinds_are_read_by_their_content(color, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    found = decode(saved(color, kind, **({"quality": 95} if kind == "AVIF" else {})), name="x.jpg")
    assert found.pixels.shape == color.shape
    assert np.abs(found.pixels.astype(int) - color).mean() < (6 if kind == "AVIF" else 1)
    assert found.notes[0].startswith("named .jpg but holds ")


@pytest.mark.parametrize("head", [b"P5 8 4 255\n", b"P5\n# by hand\n8 4\n255\n", b"P2 8 4 255 "])
def test_gray_portable_maps_are_read(head):
    levels = np.arange(32, dtype=np.uint8).reshape(4, 8)
    body = levels.tobytes() if head.startswith(b"P5") else " ".join(map(str, levels.ravel())).encode()
    np.testing.assert_array_equal(decode(head + body, name="x.pgm").pixels[..., 0], levels)


def test_heic_is_read_where_its_reader_is_and_named_where_it_is_not(color, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(color.repeat(3, 0).repeat(3, 1))).save(file, quality=95)
    found = decode(file.getvalue(), name="x.heic")
    assert found.pixels.shape == (72, 96, 3) and found.notes == ()
    assert "more than the limit of 5" in str(pytest.raises(ImageError, decode, file.getvalue(), max_pixels=5).value)
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    assert reason(file.getvalue()) == "holds HEIC; to read it, run: pip install 'firstlight[heif]'"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypmp42\0\0\0\0isomavc1" + bytes(200), "a video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(200), "a video"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (bytes(128) + b"DICM" + bytes(100), "DICOM"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100), "JPEG XL"),
        (b"\xff\x0a\x00\x10", "JPEG XL"),
        (b"<!DOCTYPE svg PUBLIC 'x'><svg/>", "a vector drawing"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg></svg>", "a vector drawing"),
        (b"%PDF-1.7", "a PDF"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\0\0\1\0\1\0\x10\x10" + bytes(100), "an icon"),
        (b"\x93NUMPY\1\0v\0{'descr': '<u2'}", "a NumPy array"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "a camera's raw file"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(50), "a camera's raw file"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw file"),
        (bytes(100), "only zeros"),
    ],
)
def test_other_files_are_called_what_they_are(data, words):
    assert reason(data).startswith(f"holds {words}")


def test_a_raw_file_that_is_a_tiff_inside_is_no_thumbnail(color):
    data = saved(color, "TIFF")
    assert reason(data, "x.NEF") == "holds a camera's raw file; export it as JPEG or TIFF"
    assert decode(data, name="x.tif").pixels.shape == color.shape


def test_tiffs_of_many_bands_or_floats_are_named_for_what_they_are(color, capfd):
    thirteen = np.concatenate([color] * 4 + [color[..., :1]], axis=-1)
    assert reason(tiff(thirteen.astype("<u2"), 1)).startswith(
        "holds a TIFF of 13 bands of 16-bit integers, which is not"
    )
    assert reason(tiff((color / 255).astype("<f4"), 3)).startswith("holds a TIFF of 3 bands of 32-bit floats, which is")
    assert capfd.readouterr() == ("", ""), "what Pillow logs stays out of the terminal"


def test_what_libtiff_writes_stays_out_of_the_terminal(color, capfd):
    data = bytearray(saved(color, "TIFF", compression="tiff_lzw"))
    data[100:140] = b"\xff" * 40
    assert reason(bytes(data)).startswith("damaged TIFF")
    assert capfd.readouterr() == ("", "")


def test_bands_that_are_left_out_are_a_note(color):
    found = decode(tiff(np.concatenate([color, color[..., :2]], axis=-1), 1, photometric=2), name="x.tif")
    np.testing.assert_array_equal(found.pixels, color)
    assert found.notes == ("the first 3 of 5 bands were used",)


def test_folders_list_the_new_kinds(color, tmp_path):
    for name in ("a/1.ppm", "a/2.PGM", "b/3.pnm", "b/4.dib", "b/5.nef"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(saved(color, "PPM"))
    assert load_data(tmp_path).names == ("a/1.ppm", "a/2.PGM", "b/3.pnm", "b/4.dib")
    assert {".avif", ".heic", ".pbm", ".pnm"} <= SUFFIXES.keys()
    model = Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(3, 8, 8))
    assert [Path(found.image).name for found in Predictor(model)(str(tmp_path / "a"))] == ["1.ppm", "2.PGM"]


@pytest.mark.parametrize("start", [b"BM", b"II*\0", b"\xff\xd8\xff", b"GIF89a", b"P6\n2 2\n255\n"])
def test_the_start_of_a_picture_is_called_truncated(start):
    with pytest.raises(ImageError, match=r"^truncated \w+: the file ends before the picture does$"):
        decode(start)
