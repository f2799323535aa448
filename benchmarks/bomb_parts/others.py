"""GIF, BMP, PPM, WebP, AVIF and HEIF files that are made to take long."""

import struct

from PIL import Image

from bomb_parts.saved import Kinds, file_of, flat


def gif(width: int, height: int, frames: int = 1, extra: bytes = b"") -> bytes:
    """Return a GIF whose frames have one pixel each."""
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff"
    return head + extra + frame * frames + b";"


def gif_extension(label: int, blocks: int) -> bytes:
    """Return an extension of a GIF of so many blocks of data."""
    return bytes([0x21, label]) + (b"\xff" + b"a" * 255) * blocks + b"\0"


def bmp(width: int, height: int, bits: int, compression: int, data: bytes, *, colors: int = 0) -> bytes:
    """Return a BMP."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colors, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + header + data


def ppm(head: bytes, data: bytes = b"") -> bytes:
    """Return a PPM."""
    return head + data


def webp_that_states(side: int) -> bytes:
    """Return a small lossless WebP that states another size."""
    data = bytearray(flat(16, "WEBP", lossless=True))
    place = data.index(b"\x2f", 16)
    data[place + 1 : place + 5] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    return bytes(data)


def webp_with(*parts: tuple[bytes, bytes], flags: int) -> bytes:
    """Return a WebP of one pixel with other chunks around it."""
    inner = flat(16, "WEBP", lossless=True)[12:]
    extended = b"VP8X" + struct.pack("<IB3x", 10, flags) + struct.pack("<I", 15)[:3] * 2
    chunks = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in parts)
    body = b"WEBP" + extended + chunks + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def frames(kind: str, count: int, side: int = 16, **options: object) -> bytes:
    """Return an animation whose frames differ a little."""
    made = [Image.new("RGB", (side, side), (number & 255, number >> 8, 0)) for number in range(count)]
    return file_of(made[0], kind, save_all=True, append_images=made[1:], **options)


def isobmff(brand: bytes, *boxes: tuple[bytes, bytes]) -> bytes:
    """Return the boxes of an AVIF or HEIF file after its first."""
    whole = [(b"ftyp", brand + bytes(4) + brand + b"mif1"), *boxes]
    return b"".join(struct.pack(">I", len(data) + 8) + name + data for name, data in whole)


def avif_that_states(side: int, kind: str = "AVIF") -> bytes:
    """Return a small AVIF that states another size in its `ispe` box."""
    data = flat(16, kind)
    return data.replace(
        b"ispe" + bytes(4) + struct.pack(">II", 16, 16), b"ispe" + bytes(4) + struct.pack(">II", side, side)
    )


def nested_boxes(depth: int) -> bytes:
    """Return a HEIF file of boxes in boxes."""
    data = b""
    for _ in range(depth):
        data = struct.pack(">I4s4x", len(data) + 12, b"meta") + data
    return isobmff(b"heic", (b"meta", bytes(4) + data))


KINDS: Kinds = {
    "GIF, frames": (lambda n: gif(1, 1, n), (1000, 300_000, 1_000_000)),
    "GIF that states a side of": (lambda n: gif(n, n), (5000, 7000, 65_535)),
    "GIF, blocks of a comment": (lambda n: gif(1, 1, extra=gif_extension(0xFE, n)), (1000, 40_000, 200_000)),
    "GIF, comments": (lambda n: gif(1, 1, extra=b"\x21\xfe\1a\0" * n), (10_000, 1_000_000)),
    "GIF, blocks of an application": (lambda n: gif(1, 1, extra=gif_extension(0xFF, n)), (40_000,)),
    "GIF, graphic controls": (lambda n: gif(1, 1, extra=b"\x21\xf9\4\0\0\0\0\0" * n), (1_000_000,)),
    "BMP that states a side of": (lambda n: bmp(n, n, 24, 0, b""), (7000, 2**31 - 1)),
    "BMP of runs, side": (lambda n: bmp(n, n, 8, 1, bytes(1024) + b"\0\1"), (7000, 65_535)),
    "BMP of runs over the edge": (lambda n: bmp(2000, 2000, 8, 1, bytes(1024) + b"\xff\1" * n), (1_000_000,)),
    "BMP of jumps": (lambda n: bmp(7000, 7000, 8, 1, bytes(1024) + b"\0\2\1\0" * n), (1000, 1_000_000)),
    "BMP, colors": (lambda n: bmp(1, 1, 8, 0, bytes(8), colors=n), (256, 2**31 - 1)),
    "PPM that states a side of": (lambda n: ppm(b"P6 %d %d 255\n" % (n, n), bytes(10)), (7000, 2**31 - 1)),
    "PPM of text, side": (lambda n: ppm(b"P3 %d %d 255\n" % (n, n), b"0 " * (3 * n * n)), (1000, 4000)),
    "PPM of bits as text, side": (lambda n: ppm(b"P1 %d %d\n" % (n, n), b"0" * (n * n)), (1000, 6000)),
    "PPM, comment": (lambda n: ppm(b"P6 #" + b"a" * n + b"\n1 1 255\nabc"), (1_000_000, 30_000_000)),
    "PPM, digits": (lambda n: ppm(b"P6 " + b"0" * n + b"1 1 255\nabc"), (10, 10_000_000)),
    "WebP that states a side of": (webp_that_states, (5000, 7000, 16_383)),
    "WebP of zeros, side": (lambda n: flat(n, "WEBP", lossless=True, method=0), (3000, 7000)),
    "WebP, frames": (lambda n: frames("WEBP", n, method=0), (100, 3000)),
    "WebP, profile": (lambda n: webp_with((b"ICCP", bytes(n)), flags=0x20), (1 << 20, 1 << 26)),
    "WebP, unknown chunks": (lambda n: webp_with(*[(b"TEST", b"")] * n, flags=0), (1000, 1_000_000)),
    "AVIF that states a side of": (avif_that_states, (5000, 7000, 65_535)),
    "AVIF of zeros, side": (lambda n: flat(n, "AVIF", speed=10, quality=10), (2000, 6000)),
    "AVIF, frames": (lambda n: frames("AVIF", n, speed=10), (60,)),
    "AVIF, boxes": (lambda n: isobmff(b"avif", *[(b"free", b"")] * n), (1000, 1_000_000)),
    "HEIF, boxes in boxes": (nested_boxes, (10, 1000, 100_000 // 4)),
    "HEIF, boxes": (lambda n: isobmff(b"heic", *[(b"free", b"")] * n), (1000, 1_000_000)),
}  # fmt: skip
