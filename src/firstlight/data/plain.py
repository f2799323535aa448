"""Which image files are so plain that decoding them is known to be quick and to take little memory.

These are what cameras and phones write, and pictures of the web: a JPEG of one scan, a PNG of 8 bits. Their decoders do
work in proportion to the pixels, of which there are few, and their headers are short.
"""

from firstlight.data.structure import Part, jpeg_segments, png_chunks

MAX_JPEG_PIXELS = 25_000_000  # decoded to three bytes a pixel
MAX_PNG_PIXELS = 4_000_000  # decoded and drawn on white, some 15 bytes a pixel
MAX_HEADER = 256 << 10  # bytes of all but the pixels
MAX_SEGMENTS = 64  # of a JPEG
MAX_CHUNKS = 2048  # of a PNG; encoders write 8 KB into each
MAX_TEXTS = 16  # of a PNG; each is at most a megabyte

_SOF0, _SOF1, _SOS = b"\xc0", b"\xc1", b"\xda"
_JPEG_HEADERS = {_SOF0, _SOF1, b"\xc4", b"\xdb", b"\xdd", b"\xfe", *(bytes([0xE0 + number]) for number in range(16))}
_PNG_TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}
_PNG_OTHERS = {
    b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"bKGD", b"pHYs", b"sBIT", b"hIST",
    b"tIME", b"eXIf", b"cICP", b"orNT",
}  # fmt: skip


def is_plain(data: bytes) -> bool:
    """Return whether an image file is a baseline JPEG or an 8-bit PNG of moderate size, without anything unusual."""
    if data.startswith(b"\xff\xd8\xff"):
        return _is_plain_jpeg(data)
    return data.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR") and _is_plain_png(data)


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether a JPEG is sequential and has all components in its first scan; libjpeg then reads no other one."""
    frame: Part | None = None
    for number, segment in enumerate(jpeg_segments(data)):
        if number > MAX_SEGMENTS or segment.end > MAX_HEADER:
            return False
        if segment.name == _SOS:
            return frame is not None and data[segment.start] == data[frame.start + 5]
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
    bits, interlaced = data[24], data[28]
    if bits > 8 or interlaced or width * height > MAX_PNG_PIXELS:
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
