"""Which image files are so plain that decoding them is known to be quick and to take little memory.

These are what cameras and phones write, and most pictures of data sets: a JPEG of one scan, a PNG of 8 bits, and pixels
that are stored as they are. Their decoders do work in proportion to the pixels, of which there are few, and their
headers are short.
"""

import re
import struct

from firstlight.data.structure import NEXT_DIRECTORY, Entry, Part, jpeg_segments, png_chunks, tiff_entries

MAX_JPEG_PIXELS = 25_000_000  # decoded to three bytes a pixel
MAX_PIXELS = 4_000_000  # of other formats; decoded and drawn on white, some 15 bytes a pixel
MAX_HEADER = 256 << 10  # bytes of all but the pixels
MAX_SEGMENTS = 64  # of a JPEG
MAX_CHUNKS = 2048  # of a PNG; encoders write 8 KB into each
MAX_TEXTS = 16  # of a PNG; each is at most a megabyte
MAX_TAGS, MAX_STRIPS = 64, 4096  # of a TIFF

_SOF0, _SOF1, _SOS = b"\xc0", b"\xc1", b"\xda"
_JPEG_HEADERS = {_SOF0, _SOF1, b"\xc4", b"\xdb", b"\xdd", b"\xfe", *(bytes([0xE0 + number]) for number in range(16))}
_PNG_TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}
_PNG_OTHERS = {
    b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"bKGD", b"pHYs", b"sBIT", b"hIST",
    b"tIME", b"eXIf", b"cICP", b"orNT",
}  # fmt: skip
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _TILES = 256, 257, 258, 259, 273, 324  # tags of TIFF
_OTHER_DIRECTORIES = {330, 34665, 34853, 40965}
_UNCOMPRESSED = 1
_PPM = re.compile(rb"P[56]\s(\d{1,7})\s(\d{1,7})\s255\s")
_BMP = struct.Struct("<14xIiiHHI")  # length of the header, width, height, planes, bits, compression


def is_plain(data: bytes) -> bool:
    """Return whether an image file is a baseline JPEG, an 8-bit PNG or stored pixels, and of moderate size."""
    if data.startswith(b"\xff\xd8\xff"):
        return _is_plain_jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"):
        return _is_plain_png(data)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _is_plain_tiff(data)
    if data.startswith(b"BM"):
        return _is_plain_bmp(data)
    size = _PPM.match(data)
    return size is not None and int(size[1]) * int(size[2]) <= MAX_PIXELS


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether a JPEG is sequential and has all components in its first scan; libjpeg then reads no other one."""
    frame: Part | None = None
    for number, segment in enumerate(jpeg_segments(data)):
        if number > MAX_SEGMENTS or segment.end > MAX_HEADER:
            return False
        if segment.name == _SOS:
            if frame is None or segment.start >= len(data):
                return False
            return data[segment.start] == data[frame.start + 5]
        if segment.name not in _JPEG_HEADERS:
            return False
        if segment.name in (_SOF0, _SOF1):
            if frame is not None or not _is_plain_frame(data[segment.start : segment.end]):
                return False
            frame = segment
    return False


def _is_plain_frame(frame: bytes) -> bool:
    """Return whether the frame header of a JPEG states 8 bits, gray or color, and a moderate number of pixels."""
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3):
        return False
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    return 0 < height * width <= MAX_JPEG_PIXELS


def _is_plain_png(data: bytes) -> bool:
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if len(data) < 33:
        return False
    bits, interlaced = data[24], data[28]
    if bits > 8 or interlaced or width * height > MAX_PIXELS:
        return False
    header, texts = 0, 0
    for number, (name, start, end) in enumerate(png_chunks(data)):
        texts += name in _PNG_TEXTS
        header += end - start if name != b"IDAT" else 0
        if number > MAX_CHUNKS or texts > MAX_TEXTS or header > MAX_HEADER:
            return False
        if name not in _PNG_OTHERS and name not in _PNG_TEXTS:
            return False
    return True


def _is_plain_tiff(data: bytes) -> bool:
    """Return whether a TIFF is a single image of 8 bits whose strips are not compressed."""
    entries = {}
    for number, entry in enumerate(tiff_entries(data)):
        if number > MAX_TAGS or entry.size > MAX_HEADER:
            return False
        entries[entry.tag] = entry
    strips = sum(entries[tag].values for tag in (_STRIPS, _TILES) if tag in entries)
    value = {tag: entry.value for tag, entry in entries.items()}
    return (
        value.get(NEXT_DIRECTORY) == 0
        and not entries.keys() & _OTHER_DIRECTORIES
        and value.get(_COMPRESSION) == _UNCOMPRESSED
        and _has_eight_bits(data, entries.get(_BITS))
        and value.get(_WIDTH, 0) * value.get(_HEIGHT, 0) <= MAX_PIXELS
        and 0 < strips <= MAX_STRIPS
    )


def _has_eight_bits(data: bytes, bits: Entry | None) -> bool:
    if bits is None:
        return False
    if bits.values == 1:
        return bits.value == 8
    return bits.values <= 4 and set(data[bits.value : bits.value + 2 * bits.values]) == {0, 8}


def _is_plain_bmp(data: bytes) -> bool:
    """Return whether a BMP holds bytes that are not compressed."""
    if len(data) < _BMP.size:
        return False
    header, width, height, _, bits, compression = _BMP.unpack_from(data)
    return header in (40, 108, 124) and not compression and bits in (8, 24, 32) and width * abs(height) <= MAX_PIXELS
