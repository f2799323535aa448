"""Small files that would take minutes or gigabytes to read: refused by their structure, before anything is decoded."""

import struct

from firstlight.errors import ImageError

# Far more than cameras and editors write, and few enough to be read in a fraction of a second.
MAX_SCANS = 100  # of a progressive JPEG; each is drawn over the whole picture
MAX_CHUNKS = 65_536  # of a PNG
MAX_STRIPS = 250_000  # strips or tiles of a TIFF

_STRIPS, _TILES = 273, 324  # tags of TIFF: where each strip or tile begins


def refuse_bomb(kind: str, data: bytes) -> None:
    """Raise an `ImageError` if a file of this format has far more parts than a picture needs."""
    if kind == "PNG" and _chunks(data) > MAX_CHUNKS:
        raise ImageError(f"a PNG of more than {MAX_CHUNKS:,} chunks, which takes too long to read; save it again")
    if kind == "TIFF" and (strips := _strips(data)) > MAX_STRIPS:
        raise ImageError(f"a TIFF of {strips:,} strips, more than the limit of {MAX_STRIPS:,}; save it again")


def refuse_scans(data: bytes) -> None:
    """Raise an `ImageError` if a progressive JPEG has far more scans than a picture needs."""
    if (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise ImageError(f"a progressive JPEG of {scans:,} scans, more than the limit of {MAX_SCANS}; save it again")


def _chunks(data: bytes) -> int:
    """Return how many chunks a PNG has; no more are counted than it takes to refuse it."""
    position, chunks = 8, 0
    while position + 8 <= len(data) and chunks <= MAX_CHUNKS:
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        chunks += 1
    return chunks


def _strips(data: bytes) -> int:
    """Return how many strips or tiles the first directory of a TIFF states; 0 if it is damaged."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = b"+" in data[2:4]
    first, count, entry = ("Q", "Q", "HHQQ") if is_big else ("I", "H", "HHII")
    try:
        (position,) = struct.unpack_from(order + first, data, 8 if is_big else 4)
        (entries,) = struct.unpack_from(order + count, data, position)
        position += struct.calcsize(order + count)
        size = struct.calcsize(order + entry)
        found = (
            struct.unpack_from(order + entry, data, position + size * number) for number in range(min(entries, 1 << 16))
        )
        return max((values for tag, _, values, _ in found if tag in (_STRIPS, _TILES)), default=0)
    except struct.error:
        return 0
