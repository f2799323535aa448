"""Walk through the parts of image files, segments, chunks and directories, without decoding anything.

Every walk is lazy, tolerates damage, and ends where the file does.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA  # markers of JPEG
_STANDALONE = frozenset([0x01, *range(0xD0, _SOS), *range(0xF0, 0xFE)])  # markers that no length follows


class Part(NamedTuple):
    """A part of a file: what it is, and where its data begins and ends."""

    name: bytes
    start: int
    end: int


def jpeg_segments(data: bytes) -> Iterator[Part]:
    """Yield the segments of a JPEG up to its first scan, each named by one byte; fill bytes count as segments too."""
    position = 2
    while position + 1 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in (0x00, 0xFF) or marker in _STANDALONE:
            yield Part(data[position + 1 : position + 2], position + 2, position + 2)
            position += 1 if marker == 0xFF else 2
            continue
        start, length = position + 4, int.from_bytes(data[position + 2 : position + 4], "big")
        position += 2 + max(2, length)
        yield Part(bytes([marker]), start, position)
        if marker == _SOS:
            return


def png_chunks(data: bytes) -> Iterator[Part]:
    """Yield the chunks of a PNG, also those after its end."""
    position = 8
    while position + 8 <= len(data):
        name, start = data[position + 4 : position + 8], position + 8
        position = start + int.from_bytes(data[position : position + 4], "big")
        yield Part(name, start, position)
        position += 4


def gif_blocks(data: bytes) -> Iterator[Part]:
    """Yield the blocks of a GIF's extensions up to its first frame, each named by the label of its extension."""
    position = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    while data[position : position + 1] == b"\x21":
        label = data[position + 1 : position + 2]
        position += 2
        while position < len(data):
            start = position + 1
            position = start + data[position]
            yield Part(label, start, position)
            if position == start:
                break


def riff_chunks(data: bytes) -> Iterator[Part]:
    """Yield the chunks of a WebP."""
    position = 12
    while position + 8 <= len(data):
        start = position + 8
        length = int.from_bytes(data[position + 4 : start], "little")
        yield Part(data[position : position + 4], start, start + length)
        position = start + length + length % 2


def boxes(data: bytes) -> Iterator[Part]:
    """Yield the outer boxes of an AVIF or HEIC file."""
    position = 0
    while position + 8 <= len(data):
        length, header = int.from_bytes(data[position : position + 4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        end = position + length if length else len(data)
        yield Part(data[position + 4 : position + 8], position + header, end)
        position = max(end, position + header)


class Entry(NamedTuple):
    """An entry of a directory of a TIFF: its tag, how many values it has, how many bytes they take, and its value.

    The value is where the values are if they take more than four bytes (eight in a BigTIFF).
    """

    tag: int
    values: int
    size: int
    value: int


_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
NEXT_DIRECTORY = -1  # the tag of an entry that `tiff_entries` adds


def tiff_entries(data: bytes) -> Iterator[Entry]:
    """Yield the entries of the first directory of a TIFF, and as the last one where the next directory is."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = b"+" in data[2:4]
    first, count, entry, inline = ("Q", "Q", "HHQ", 8) if is_big else ("I", "H", "HHI", 4)
    try:
        (position,) = struct.unpack_from(order + first, data, 8 if is_big else 4)
        (entries,) = struct.unpack_from(order + count, data, position)
        position += struct.calcsize(order + count)
        for _ in range(min(entries, 1 << 16)):
            tag, kind, values = struct.unpack_from(order + entry, data, position)
            position += struct.calcsize(order + entry)
            short = kind == 3 and values == 1
            (value,) = struct.unpack_from(order + ("H" if short else first), data, position)
            yield Entry(tag, values, values * _SIZES.get(kind, 1), value)
            position += inline
        yield Entry(NEXT_DIRECTORY, 1, inline, *struct.unpack_from(order + first, data, position))
    except struct.error:
        return
