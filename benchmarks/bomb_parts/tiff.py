"""TIFF files that are made to take long."""

import struct

from bomb_parts.saved import LONG, Kinds, zeros

BYTE, SHORT = 1, 3  # types of numbers, beside LONG


def tiff(width: int, height: int, *tags: tuple[int, ...], packing: int = 1, strips: int = 1, bits: int = 8) -> bytes:
    """Return a gray TIFF with little data; `tags` are tuples of tag, type, count and value, or where it is."""
    fields = [(256, LONG, 1, width), (257, LONG, 1, height), (258, SHORT, 1, bits), (259, SHORT, 1, packing)]
    fields += [(262, SHORT, 1, 1), (273, LONG, strips, 8), (277, SHORT, 1, 1), (278, LONG, 1, height)]
    fields += [(279, LONG, strips, 100)]
    fields = [field for field in fields if field[0] not in {tag[0] for tag in tags}]
    entries = b"".join(struct.pack("<HHII", *field) for field in sorted([*fields, *tags]))
    return b"II*\0" + struct.pack("<IH", 8, len(entries) // 12) + entries + bytes(104)


def tiff_of_directories(count: int, *, loop: bool = False) -> bytes:
    """Return a TIFF of so many frames of one pixel; the last one points back to the first if it is to `loop`."""
    one = tiff(1, 1)[8:-104]
    places = [8 + number * (len(one) + 4) for number in range(count)] + [8 if loop else 0]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(one + struct.pack("<I", place) for place in places[1:])


def tiff_of_strips(count: int) -> bytes:
    """Return a gray TIFF of one column, each pixel in a strip of its own, with the lists of all strips."""
    fields = [(256, LONG, 1, 1), (257, LONG, 1, count), (258, SHORT, 1, 8), (259, SHORT, 1, 1), (262, SHORT, 1, 1)]
    fields += [(273, LONG, count, 200), (277, SHORT, 1, 1), (278, LONG, 1, 1), (279, LONG, count, 200 + 4 * count)]
    entries = b"".join(struct.pack("<HHII", *field) for field in fields)
    head = (b"II*\0" + struct.pack("<IH", 8, 9) + entries).ljust(200, b"\0")
    return head + struct.pack("<I", 0) * count + struct.pack("<I", 1) * count


def tiff_of_entries(count: int) -> bytes:
    """Return a TIFF with so many further tags in its directory."""
    return tiff(1, 1, *[(1000 + number, LONG, 1, 7) for number in range(count)])


def deflated_tiff(side: int, bits: int = 8) -> bytes:
    """Return a black deflated TIFF."""
    data = zeros(side * side * bits // 8)
    numbers = [(273, LONG, 1, 300), (279, LONG, 1, len(data)), (339, SHORT, 1, 3 if bits == 32 else 1)]
    return tiff(side, side, *numbers, packing=8, bits=bits)[:-104].ljust(300, b"\0") + data


KINDS: Kinds = {
    "TIFF, directories": (tiff_of_directories, (100, 20_000, 80_000)),
    "TIFF, directories in a loop": (lambda n: tiff_of_directories(n, loop=True), (1, 2, 1000)),
    "TIFF, strips": (tiff_of_strips, (1000, 60_000, 240_000, 1_000_000, 10_000_000)),
    "TIFF that states strips": (lambda n: tiff(1, n, strips=n), (200_000, 5_000_000)),
    "TIFF that states a side of": (lambda n: tiff(n, n), (7000, 2**31 - 1)),
    "TIFF that states a side of, LZW": (lambda n: tiff(n, n, packing=5), (7000, 2**31 - 1)),
    "TIFF of zeros, side": (deflated_tiff, (5000, 7000, 7100)),
    "TIFF of floats, side": (lambda n: deflated_tiff(n, 32), (3000, 7000)),
    "TIFF, tag of this many bytes": (
        lambda n: tiff(1, 1, (700, BYTE, n, 8)) + bytes(min(n, 1 << 25)), (1 << 20, 1 << 25, 2**31)),
    "TIFF, tag of this many numbers": (
        lambda n: tiff(1, 1, (40_000, LONG, n, 8)) + bytes(min(4 * n, 1 << 26)), (1 << 18, 1 << 24, 2**30)),
    "TIFF, tags": (tiff_of_entries, (1000, 60_000)),
    "TIFF, directories inside in a loop": (
        lambda n: tiff(1, 1, (330, LONG, 1, 8), (34665, LONG, 1, 8)) + bytes(n), (1,)),
    "TIFF of bits a sample": (lambda n: tiff(3000, 3000, (258, SHORT, n, 8)), (3, 60_000)),
    "TIFF, samples a pixel": (lambda n: tiff(1000, 1000, (277, SHORT, 1, n)), (5, 60_000)),
}  # fmt: skip
