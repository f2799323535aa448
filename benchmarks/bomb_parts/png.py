"""PNG files that are made to take long."""

import struct
import zlib

from bomb_parts.jpeg import exif_of
from bomb_parts.saved import Kinds, zeros

ROW = zlib.compress(bytes(4))  # the data of a picture of one pixel


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int, height: int, rows: bytes, *extra: bytes, bits: int = 8, color: int = 2, interlaced: int = 0
) -> bytes:
    """Return a PNG whose deflated rows are given, with other chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_of_zeros(side: int, bits: int = 8, color: int = 2, interlaced: int = 0) -> bytes:
    """Return a black PNG."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    palette = [chunk(b"PLTE", bytes(768))] if color == 3 else []
    rows = zeros(side * (side * samples * bits // 8 + 1) + 15 * side * interlaced)
    return png(side, side, rows, *palette, bits=bits, color=color, interlaced=interlaced)


def png_of_chunks(count: int, name: bytes = b"teSt", data: bytes = b"") -> bytes:
    """Return a PNG of one pixel with so many equal chunks before its data."""
    return png(1, 1, ROW, chunk(name, data) * count)


def png_of_data_chunks(count: int) -> bytes:
    """Return a PNG whose data is in so many chunks, all but the last of them empty."""
    head, tail = png(1, 1, ROW).split(chunk(b"IDAT", ROW))
    return head + chunk(b"IDAT", b"") * count + chunk(b"IDAT", ROW) + tail


def apng(frames: int, side: int = 1) -> bytes:
    """Return an animated PNG whose frames are all the same."""
    control = struct.pack(">IIIIHHBB", side, side, 0, 0, 1, 10, 0, 0)
    rows = zeros(side * (side * 3 + 1))
    later = b"".join(
        chunk(b"fcTL", struct.pack(">I", 2 * number - 1) + control)
        + chunk(b"fdAT", struct.pack(">I", 2 * number) + rows)
        for number in range(1, frames)
    )
    first = chunk(b"acTL", struct.pack(">II", frames, 0)) + chunk(b"fcTL", struct.pack(">I", 0) + control)
    whole = png(side, side, rows, first)
    return whole[:-12] + later + whole[-12:]


KINDS: Kinds = {
    "PNG of zeros, side": (png_of_zeros, (5000, 7000, 7100)),
    "PNG of deep zeros, side": (lambda n: png_of_zeros(n, bits=16, color=6), (3000, 7000)),
    "PNG of 16-bit gray zeros, side": (lambda n: png_of_zeros(n, bits=16, color=0), (3000, 7000)),
    "PNG of palette zeros, side": (lambda n: png_of_zeros(n, color=3), (7000,)),
    "interlaced PNG of zeros, side": (lambda n: png_of_zeros(n, interlaced=1), (3000, 7000)),
    "PNG of one column": (lambda n: png(1, n, zeros(n * 4)), (1_000_000, 50_000_000)),
    "PNG of one row": (lambda n: png(n, 1, zeros(n * 3 + 1)), (1_000_000, 50_000_000)),
    "PNG of one pixel, zeros after it": (lambda n: png(1, 1, zeros(n)), (1 << 27, 1 << 30)),
    "PNG that states a side of": (lambda n: png(n, n, ROW), (7000, 2**31 - 1)),
    "PNG, empty chunks": (png_of_chunks, (1000, 60_000, 70_000, 1_000_000)),
    "PNG, empty texts": (lambda n: png_of_chunks(n, b"tEXt", b"a\0b"), (1000, 60_000, 1_000_000)),
    "PNG, empty data chunks": (png_of_data_chunks, (1000, 60_000, 1_000_000)),
    "PNG, deflated profile": (lambda n: png(1, 1, ROW, chunk(b"iCCP", b"a\0\0" + zeros(n))), (1 << 20, 1 << 29)),
    "PNG, deflated text": (lambda n: png(1, 1, ROW, chunk(b"zTXt", b"a\0\0" + zeros(n))), (1 << 20, 1 << 29)),
    "PNG, deflated texts of 1 MB": (
        lambda n: png(1, 1, ROW, chunk(b"zTXt", b"a\0\0" + zeros(1 << 20)) * n), (60, 5000)),
    "PNG, international text": (
        lambda n: png(1, 1, ROW, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros(n))), (1 << 20, 1 << 29)),
    "PNG, plain text": (lambda n: png(1, 1, ROW, chunk(b"tEXt", b"a\0" + b"b" * n)), (1 << 20, 1 << 26)),
    "PNG, EXIF": (lambda n: png(1, 1, ROW, chunk(b"eXIf", exif_of(n)[10:])), (5000,)),
    "animated PNG, frames": (apng, (100, 10_000, 30_000, 100_000)),
}  # fmt: skip
