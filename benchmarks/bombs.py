"""Small image files that take minutes or gigabytes to decode: makers of each kind, at several sizes.

`bombs()` yields more than a hundred of them, of some forty kinds. Run alone, this prints what firstlight makes of each:

    python benchmarks/bombs.py

One JSON line per bomb: its bytes, the seconds until it was decoded or refused, and the reason if it was refused.
"""

import argparse
import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

from PIL import Image

Maker = Callable[[], bytes]

ROW = zlib.compress(bytes(4))  # the data of a picture of one pixel
BYTE, TEXT, SHORT, LONG = 1, 2, 3, 4  # types of TIFF's numbers


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@cache
def flat(side: int, kind: str, mode: str = "RGB", **options: object) -> bytes:
    """Return a square of one color."""
    return file_of(Image.new(mode, (side, side)), kind, **options)


def zeros(count: int) -> bytes:
    """Return that many zeros, deflated a thousandfold."""
    packer, block = zlib.compressobj(1), bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(count >> 20)]
    return b"".join([*parts, packer.compress(block[: count % (1 << 20)]), packer.flush()])


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


def ppm(head: bytes, data: bytes = b"") -> bytes:
    """Return a PPM."""
    return head + data


def _kinds() -> dict[str, tuple[Callable[..., bytes], Sequence[object]]]:
    """Return of each kind of bomb its maker and what that is called with."""
    deep = {"bits": 16, "color": 6}
    return {
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
        "PNG of zeros, side": (png_of_zeros, (5000, 7000, 7100)),
        "PNG of deep zeros, side": (lambda n: png_of_zeros(n, **deep), (3000, 7000)),
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


def makers() -> dict[str, Maker]:
    """Return a maker for each bomb, by its name; nothing is made yet."""
    return {
        f"{kind} {size:,}": partial(make, size)
        for kind, (make, sizes) in _kinds().items()
        for size in sizes
        if isinstance(size, int)
    }


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each bomb."""
    for name, make in makers().items():
        yield name, make()


def main() -> None:
    """Decode each bomb and print a row for it."""
    from firstlight.data.isolation import decode_safely
    from firstlight.errors import ImageError

    parser = argparse.ArgumentParser(description="Time firstlight on files that are made to take long.")
    parser.add_argument("--only", default="", help="bombs with this in their names")
    only = parser.parse_args().only
    for name, make in makers().items():
        if only not in name:
            continue
        data, reason = make(), ""
        started = time.monotonic()
        try:
            decode_safely(data, input_size=(3, 224, 224))
        except ImageError as error:
            reason = str(error)
        row = {"bomb": name, "bytes": len(data), "seconds": round(time.monotonic() - started, 3), "refused": reason}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
