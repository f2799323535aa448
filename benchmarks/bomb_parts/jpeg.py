"""JPEG files that are made to take long."""

import struct

from bomb_parts.saved import LONG, Kinds, flat


def jpeg_of_scans(count: int, side: int = 500, mode: str = "L") -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    data = flat(side, "JPEG", mode, progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def jpeg_that_states(width: int, height: int, **options: object) -> bytes:
    """Return a JPEG of 40 x 40 pixels that states another size."""
    data = flat(40, "JPEG", **options)
    return data.replace(struct.pack(">HH", 40, 40), struct.pack(">HH", height, width), 1)


def jpeg_with(segments: bytes) -> bytes:
    """Return a small JPEG with other segments in front."""
    data = flat(16, "JPEG")
    return data[:2] + segments + data[2:]


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_of_components(count: int) -> bytes:
    """Return a JPEG that states so many components."""
    parts = b"".join(struct.pack("BBB", number & 255, 0x44, 0) for number in range(count))
    return b"\xff\xd8" + segment(0xC0, struct.pack(">BHHB", 8, 5000, 5000, count) + parts) + b"\xff\xd9"


def exif_of(entries: int, pointer: int = 8) -> bytes:
    """Return an EXIF segment whose directory has many entries, and goes on at `pointer`."""
    tags = b"".join(struct.pack("<HHII", 40_000 + number, LONG, 1, 7) for number in range(entries))
    block = b"II*\0" + struct.pack("<IH", 8, entries) + tags + struct.pack("<I", pointer)
    return segment(0xE1, b"Exif\0\0" + block)


def exif_of_tag(tag: int, kind: int, count: int, value: int) -> bytes:
    """Return an EXIF segment of one tag."""
    return segment(0xE1, b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, tag, kind, count, value, 0))


KINDS: Kinds = {
    "progressive JPEG, scans": (jpeg_of_scans, (90, 101, 800, 5000, 20_000)),
    "progressive JPEG of 4000 x 4000, scans": (lambda n: jpeg_of_scans(n, 4000), (30, 90, 800)),
    "progressive color JPEG of 7000 x 7000, scans": (lambda n: jpeg_of_scans(n, 7000, "RGB"), (11, 60, 100)),
    "JPEG that states a side of": (lambda n: jpeg_that_states(n, n), (5000, 7000, 7100, 65_500)),
    "progressive JPEG that states a side of": (
        lambda n: jpeg_that_states(n, n, progressive=True), (5000, 7000, 7100, 65_500)),
    "JPEG, comments": (lambda n: jpeg_with(b"\xff\xfe\0\2" * n), (10_000, 1_000_000, 5_000_000)),
    "JPEG, EXIF segments": (lambda n: jpeg_with(exif_of(5000) * n), (1, 30, 300)),
    "JPEG, EXIF entries": (lambda n: jpeg_with(exif_of(n)), (1000, 5400)),
    "JPEG, EXIF tag of this many numbers": (
        lambda n: jpeg_with(exif_of_tag(34665, LONG, n, 8)), (1, 1000, 2**31 - 1)),
    "JPEG, profile segments": (
        lambda n: jpeg_with(b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([i % 255 + 1, 255]) + b"a" * 65_000)
                                     for i in range(n))), (255, 1000)),
    "JPEG, tables": (lambda n: jpeg_with(segment(0xDB, b"\0" + b"\1" * 64) * n), (1000, 300_000)),
    "JPEG, restart markers": (lambda n: flat(16, "JPEG")[:-2] + b"\xff\xd0" * n + b"\xff\xd9", (1000, 3_000_000)),
    "JPEG, fill bytes": (lambda n: jpeg_with(b"\xff" * n), (1_000_000, 30_000_000)),
    "JPEG, components": (jpeg_of_components, (5, 255)),
}  # fmt: skip
