"""Small files that would take minutes: refused by their structure, while pictures with many parts are read."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from firstlight.data.bombs import (
    FEW_SCANS,
    MAX_PARTS,
    MAX_PPM_HEADER,
    MAX_SCANS,
    MAX_SIDE,
    MAX_STRIPS,
    MAX_TAG_BYTES,
    MAX_TAGS,
    refuse_scans,
)
from firstlight.data.images import decode, image_size
from firstlight.errors import ImageError


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_chunks(count: int) -> bytes:
    """A PNG of one gray pixel and so many chunks in all."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    rest = chunk(b"IDAT", zlib.compress(b"\0\7")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"teSt", b"") * (count - 3) + rest


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until it has so many."""
    data = file_of(Image.new("L", (64, 64), 90), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def tiff(count: int, *, order: str = "<", is_big: bool = False, frames: int = 1, broken: bool = False) -> bytes:
    """A gray TIFF of one column, each pixel in a strip of its own; all frames are the same, the last perhaps broken."""
    entry, number, first = (order + "HHQQ", order + "Q", 16) if is_big else (order + "HHII", order + "I", 8)
    fields = [(256, 1), (257, count), (258, 8), (259, 1), (262, 1), (277, 1), (278, 1)]
    size = (8 if is_big else 2) + 9 * struct.calcsize(entry) + struct.calcsize(number)
    lists = first + size * frames
    mark = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if is_big else 42)
    data = mark + (struct.pack(order + "HHQ", 8, 0, first) if is_big else struct.pack(order + "I", first))
    for frame in range(frames):
        strips = [(273, count, lists), (279, count, lists + 4 * count)]
        directory = sorted([(tag, 1, value) for tag, value in fields] + strips)
        one = 16 if is_big else 4  # the type of a single number, as long as its field
        entries = b"".join(struct.pack(entry, tag, one if many == 1 else 4, many, at) for tag, many, at in directory)
        following = 0 if frame == frames - 1 else first + size * (frame + 1)
        if broken and frame == frames - 2:
            following = 1 << 30
        data += struct.pack(order + ("Q" if is_big else "H"), 9) + entries + struct.pack(number, following)
    return data + struct.pack(order + "I", 0) * count + struct.pack(order + "I", 1) * count


@pytest.mark.parametrize(
    ("made", "limit", "words"),
    [(png_of_chunks, MAX_PARTS, "chunks"), (jpeg_of_scans, MAX_SCANS, "scans"), (tiff, MAX_STRIPS, "strips")],
)
def test_a_file_of_one_part_too_many_is_refused_and_one_less_is_read(made, limit, words):
    with pytest.raises(ImageError, match=f"{words}, .*save it again"):
        decode(made(limit + 1))
    if made is not tiff:  # the strips of this one are a quarter of a million pixels in a row
        assert decode(made(limit)).pixels.size


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
def test_strips_are_counted_in_every_kind_of_tiff(order, is_big):
    if (order, is_big) != (">", True):  # which Pillow does not read
        assert decode(tiff(40, order=order, is_big=is_big)).pixels.shape == (40, 1, 1)
    with pytest.raises(ImageError, match="strips"):
        decode(tiff(MAX_STRIPS + 1, order=order, is_big=is_big))


def test_the_header_alone_is_not_read_from_such_a_file_either():
    with pytest.raises(ImageError, match="chunks"):
        image_size(png_of_chunks(MAX_PARTS + 1))


@pytest.mark.parametrize("data", [b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0+\0\0", b"II*\0\x08\0\0\0\xff\xff\0\0"])
def test_a_tiff_without_a_directory_is_damaged_not_a_bomb(data):
    with pytest.raises(ImageError, match="damaged|truncated"):
        decode(data)


def test_frames_are_not_counted(monkeypatch):
    """Counting goes through every frame, of which a small file may have a million."""
    from PIL.GifImagePlugin import GifImageFile
    from PIL.TiffImagePlugin import TiffImageFile

    def count(self: object) -> int:
        raise AssertionError

    for reader in (GifImageFile, TiffImageFile):
        monkeypatch.setattr(reader, "n_frames", property(count))
    pictures = [Image.fromarray(np.full((9, 9), shade, np.uint8)) for shade in (0, 100, 200)]
    for kind in ("GIF", "TIFF"):
        assert decode(file_of(pictures[0], kind)).notes == ()
        several = file_of(pictures[0], kind, save_all=True, append_images=pictures[1:])
        assert decode(several).notes == ("first of several frames",)


def test_a_damaged_second_frame_is_noted():
    assert "later frames are damaged" in " ".join(decode(tiff(4, frames=2, broken=True)).notes)
    assert decode(tiff(4, frames=2)).notes == ("first of several frames",)


def with_more(kind: str, at: int, more: bytes) -> bytes:
    """A black picture with more bytes at a place of its file: -1 is its end, 0 in a GIF where its palette ends."""
    data = file_of(Image.new("RGB", (16, 16)), kind)
    at = len(data) if at < 0 else at or data.index(b"\x2c")
    return data[:at] + more + data[at:]


@pytest.mark.parametrize(
    ("make", "count", "words"),
    [
        (lambda count: with_more("JPEG", 2, b"\xff\xfe\0\2" * count), MAX_PARTS, "JPEG with more than 65,536 segments"),
        (lambda count: with_more("JPEG", 2, b"\xff" * count), MAX_PARTS, "JPEG with more than 65,536 segments"),
        (lambda count: with_more("GIF", 0, b"\x21\xfe\1a\0" * count), MAX_PARTS, "GIF with more than"),
        (lambda count: with_more("WEBP", -1, b"TEST\0\0\0\0" * count), MAX_PARTS, "WebP with more than 65,536 chunks"),
        (lambda count: with_more("AVIF", -1, b"\0\0\0\x08free" * count), MAX_PARTS, "AVIF with more than 65,536 boxes"),
        (lambda count: b"P6 #" + b"a" * count + b"\n1 1 255\nabc", MAX_PPM_HEADER, "PPM with a header longer"),
    ],
)
def test_each_format_has_a_limit_of_parts(make, count, words):
    with pytest.raises(ImageError, match=f"{words}.*save it again"):
        decode(make(count))
    assert decode(make(3)).pixels.size


def test_many_scans_of_a_large_picture_are_refused():
    refuse_scans(b"\xff\xda" * FEW_SCANS, 7000, 7000)
    refuse_scans(b"\xff\xda" * MAX_SCANS, 1000, 1000)
    with pytest.raises(ImageError, match="13 scans at 7000 x 7000 pixels, more than the limit of 12"):
        refuse_scans(b"\xff\xda" * (FEW_SCANS + 1), 7000, 7000)


def test_a_picture_that_is_a_line_is_refused():
    with pytest.raises(ImageError, match="no side may be longer than 200,000 pixels"):
        decode(file_of(Image.new("1", (MAX_SIDE + 1, 1)), "PNG"))


@pytest.mark.parametrize(("size", "tags"), [(1, MAX_TAGS), (MAX_TAG_BYTES + 1, 1)])
def test_a_tiff_of_many_tags_or_large_ones_is_refused(size, tags):
    entries = b"".join(struct.pack("<HHII", 1000 + number, 7, size, 0) for number in range(tags + 1))
    head = b"II*\0" + struct.pack("<IH", 8, tags + 1) + entries + bytes(4)
    with pytest.raises(ImageError, match="a TIFF .*tags, more than the limit"):
        decode(head + bytes(size if size > 1 else 0))
