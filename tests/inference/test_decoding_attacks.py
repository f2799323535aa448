"""Attacks on the decoders: files that are small and take much, and files that are damaged in every way."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.inference.decoding import Decoders, Limits
from firstlight.inference.inputs import Item, Target, read_item
from firstlight.white import White

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # whose bombs are made by the same hands
from bomb_parts.png import ROW, chunk, png  # noqa: E402
from bomb_parts.saved import file_of, zeros  # noqa: E402

TARGET = Target((3, 32, 32), "crop", 50_000_000, White())
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
REFUSED = "takes longer than|needs more than|more than the limit|no side may be longer|save it again|damaged|truncated"


def tiff(width: int, height: int, *tags: tuple[int, ...], packing: int = 1, strips: int = 1) -> bytes:
    fields = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, packing), (262, 3, 1, 1)]
    fields += [(273, 4, strips, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, strips, 100), *tags]
    entries = b"".join(struct.pack("<HHII", *field) for field in sorted(fields))
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(104)


def tiff_of_directories(count: int) -> bytes:
    one = tiff(1, 1)[8:-104]
    places = [8 + number * (len(one) + 4) for number in range(count)] + [0]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(one + struct.pack("<I", place) for place in places[1:])


def gif(width: int, height: int, frames: int = 1, comment: bytes = b"") -> bytes:
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    return (
        b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff" + comment + frame * frames + b";"
    )


def bmp(width: int, height: int, bits: int, compression: int, data: bytes) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + header + data


def jpeg_of_scans(count: int) -> bytes:
    data = file_of(Image.new("L", (2000, 2000), 90), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def jpeg_that_states(width: int, height: int) -> bytes:
    data = file_of(Image.new("RGB", (40, 40)), "JPEG")
    return data.replace(struct.pack(">HH", 40, 40), struct.pack(">HH", height, width), 1)


def webp_that_states_16383() -> bytes:
    data = bytearray(file_of(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    place = data.index(b"\x2f", 16)
    data[place + 1 : place + 5] = struct.pack("<I", 16382 | 16382 << 14)
    return bytes(data)


def flat(side: int, kind: str, **options) -> Callable[[], bytes]:
    return lambda: file_of(Image.new(options.pop("mode", "RGB"), (side, side)), kind, **options)


# Each bomb, and whether it has to be refused; one that is not may still be.
BOMBS: dict[str, tuple[Callable[[], bytes], bool]] = {
    "PNG of 25 million pixels": (lambda: png(5000, 5000, zeros(5000 * 15_001)), True),
    "PNG of 25 million deep pixels": (lambda: png(5000, 5000, zeros(5000 * 40_001), bits=16, color=6), True),
    "PNG of one column": (lambda: png(1, 25_000_000, zeros(25_000_000 * 4)), True),
    "PNG of one row": (lambda: png(25_000_000, 1, zeros(25_000_000 * 3 + 1)), True),
    "interlaced PNG": (lambda: png(5000, 5000, zeros(5000 * 15_010), interlaced=1), True),
    "PNG of one pixel and 128 MB": (lambda: png(1, 1, zeros(1 << 27)), False),
    "PNG that states 2^31 x 2^31": (lambda: png(2**31 - 1, 2**31 - 1, ROW), True),
    "PNG that states 7000 x 7000": (lambda: png(7000, 7000, ROW), True),
    "PNG of 100,000 chunks": (lambda: png(1, 1, ROW, chunk(b"teSt", b"") * 100_000), True),
    "PNG profile of 128 MB": (lambda: png(1, 1, ROW, chunk(b"iCCP", b"a\0\0" + zeros(1 << 27))), True),
    "PNG text of 128 MB": (lambda: png(1, 1, ROW, chunk(b"zTXt", b"a\0\0" + zeros(1 << 27))), True),
    "PNG texts of 1 MB": (lambda: png(1, 1, ROW, chunk(b"zTXt", b"a\0\0" + zeros(1 << 20)) * 60), False),
    "PNG international text": (lambda: png(1, 1, ROW, chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(1 << 27))), True),
    "JPEG of 5000 scans": (lambda: jpeg_of_scans(5000), True),
    "JPEG of 90 scans": (lambda: jpeg_of_scans(90), False),
    "JPEG that states 65500 x 760": (lambda: jpeg_that_states(65_500, 760), False),
    "JPEG that states 65500 x 65500": (lambda: jpeg_that_states(65_500, 65_500), True),
    "progressive JPEG": (flat(5000, "JPEG", progressive=True), False),
    "JPEG of a million comments": (
        lambda: (data := file_of(Image.new("L", (9, 9)), "JPEG"))[:2] + b"\xff\xfe\0\2" * 1_000_000 + data[2:],
        False,
    ),
    "TIFF of 20,000 directories": (lambda: tiff_of_directories(20_000), False),
    "TIFF of five million strips": (lambda: tiff(1, 5_000_000, strips=5_000_000), True),
    "TIFF that states 7000 x 7000": (lambda: tiff(7000, 7000), True),
    "TIFF that states 7000 x 7000, packed": (lambda: tiff(7000, 7000, packing=5), True),
    "TIFF that states 2^31 x 2^31": (lambda: tiff(2**31 - 1, 2**31 - 1), True),
    "TIFF tag of 2^31 bytes": (lambda: tiff(1, 1, (700, 1, 2**31, 8)), False),
    "TIFF of floats": (flat(5000, "TIFF", mode="F", compression="tiff_adobe_deflate"), True),
    "GIF of 300,000 frames": (lambda: gif(1, 1, 300_000), False),
    "GIF that states 65535 x 760": (lambda: gif(65_535, 760), True),
    "GIF comment of 10 MB": (lambda: gif(1, 1, comment=b"\x21\xfe" + (b"\xff" + b"a" * 255) * 40_000 + b"\0"), False),
    "WebP that states 16383 x 16383": (webp_that_states_16383, True),
    "WebP of 25 million pixels": (flat(5000, "WEBP", lossless=True, method=0), True),
    "AVIF of 16 million pixels": (flat(4000, "AVIF", speed=10, quality=10), False),
    "BMP that states 2^31 x 2^31": (lambda: bmp(2**31 - 1, 2**31 - 1, 24, 0, b""), True),
    "BMP of runs": (lambda: bmp(7000, 7000, 8, 1, bytes(1024) + b"\0\1"), True),
    "PPM that states 7000 x 7000": (lambda: b"P6 7000 7000 255\n" + bytes(10), True),
    "PPM comment of a megabyte": (lambda: b"P6 #" + b"a" * 1_000_000 + b"\n1 1 255\nabc", False),
}


@pytest.fixture(scope="module")
def decoders():
    with Decoders(TARGET, 2, Limits(cpu_seconds=0.5, memory=60_000_000)) as decoders:
        yield decoders


@pytest.mark.slow
def test_bombs_are_refused_while_other_pictures_are_read(decoders):
    good = file_of(Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)), "PNG")
    expected = read_item(Item(good), TARGET)
    waiting = {}
    for name, (make, _) in BOMBS.items():
        waiting[name] = decoders.submit(make()), decoders.submit(good)
    wrong = {}
    for name, (bomb, other) in waiting.items():
        answer = bomb.result()
        assert np.array_equal(other.result(), expected), name
        if isinstance(answer, str):
            is_right = any(words in answer for words in REFUSED.split("|"))
        else:
            is_right = not BOMBS[name][1] and answer.shape == (32, 32, 3)
        if not is_right:
            wrong[name] = answer if isinstance(answer, str) else "was read"
    assert not wrong


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Return a file with bytes flipped, cut off, moved, put in or written over by extreme numbers."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 6)):
        place, length = int(random.integers(len(changed))), int(random.integers(1, 9))
        match int(random.integers(6)):
            case 0:
                changed[place] ^= 1 << int(random.integers(8))
            case 1:
                changed[place : place + length] = random.bytes(length)
            case 2:
                changed[place : place + length] = b"\xff" * length if random.random() < 0.5 else bytes(length)
            case 3:
                del changed[place : place + length]
            case 4:
                changed[place:place] = changed[place // 2 : place // 2 + 64]
            case 5:
                del changed[max(place, 1) :]
    return bytes(changed)


def same_end(decoders: Decoders, kind: str, count: int) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (24, 31, 3), np.uint8)
    data = file_of(Image.fromarray(pixels), kind)
    files = [mutated(data, random) for _ in range(count)]
    for file, future in [(file, decoders.submit(file)) for file in files]:
        expected, found = read_item(Item(file), TARGET), future.result()
        if isinstance(found, str) and found.startswith("decoding"):  # it takes much, and is read where that is allowed
            continue
        assert found == expected if isinstance(expected, str) else np.array_equal(found, expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_come_to_the_end_that_they_have_in_this_process(decoders, kind):
    same_end(decoders, kind, 10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_many_damaged_files_come_to_the_same_end(decoders, kind):
    same_end(decoders, kind, 200)
