"""Small files that would take minutes or gigabytes to read: refused by their structure, before anything is decoded."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from firstlight.data.structure import (
    Part,
    boxes,
    gif_blocks,
    jpeg_segments,
    png_chunks,
    riff_chunks,
    tiff_entries,
)
from firstlight.errors import ImageError

# Far more than cameras and editors write, and few enough to be read in a fraction of a second.
MAX_SCANS = 100  # of a progressive JPEG; each is drawn over the whole picture
FEW_SCANS = 12  # that encoders use for photographs of any size; with more, all scans together draw at most:
MAX_SCANNED_PIXELS = 500_000_000
MAX_SIDE = 200_000  # pixels
MAX_PARTS = 65_536  # segments of a JPEG, chunks of a PNG or WebP, blocks of a GIF, boxes of an AVIF or HEIC file
MAX_STRIPS = 100_000  # strips or tiles of a TIFF
MAX_TAGS = 4096  # of a TIFF
MAX_TAG_BYTES = 64 << 20  # of all its tags together, but for the lists of strips

MAX_PPM_HEADER = 65_536  # bytes

_COMMENT = re.compile(rb"#[^\r\n]*")
_STRIP_TAGS = {273, 279, 324, 325}  # of TIFF: where each strip or tile begins, and its length

_PARTS: dict[str, tuple[str, Callable[[bytes], Iterator[Part]]]] = {
    "JPEG": ("segments", jpeg_segments),
    "PNG": ("chunks", png_chunks),
    "WebP": ("chunks", riff_chunks),
    "GIF": ("blocks", gif_blocks),
    "AVIF": ("boxes", boxes),
    "HEIC": ("boxes", boxes),
}


def refuse_bomb(kind: str, data: bytes) -> None:
    """Raise an `ImageError` if a file of this format has far more parts than a picture needs."""
    if kind in _PARTS:
        parts, walk = _PARTS[kind]
        if _are_more_than(MAX_PARTS, walk(data)):
            raise ImageError(
                f"a {kind} with more than {MAX_PARTS:,} {parts}, which takes too long to read; save it again"
            )
    elif kind == "TIFF":
        _refuse_tiff(data)
    elif kind == "PPM":
        _refuse_ppm(data)


def refuse_size(width: int, height: int) -> None:
    """Raise an `ImageError` if a picture is so long that it can be no picture, however few pixels it has."""
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{width} x {height}: no side may be longer than {MAX_SIDE:,} pixels; cut it into parts")


def refuse_scans(data: bytes, width: int, height: int) -> None:
    """Raise an `ImageError` if a progressive JPEG has far more scans than a picture of its size needs."""
    scans = data.count(b"\xff\xda")
    most = min(MAX_SCANS, max(FEW_SCANS, MAX_SCANNED_PIXELS // max(1, width * height)))
    if scans > most:
        size = f" at {width} x {height} pixels" if most < MAX_SCANS else ""
        raise ImageError(f"a progressive JPEG with {scans:,} scans{size}, more than the limit of {most}; save it again")


def _refuse_tiff(data: bytes) -> None:
    entries = list(tiff_entries(data))
    strips = max((entry.values for entry in entries if entry.tag in _STRIP_TAGS), default=0)
    if strips > MAX_STRIPS:
        raise ImageError(f"a TIFF with {strips:,} strips, more than the limit of {MAX_STRIPS:,}; save it again")
    if len(entries) > MAX_TAGS:
        raise ImageError(f"a TIFF with {len(entries):,} tags, more than the limit of {MAX_TAGS:,}; save it again")
    # a tag that states more than there is, is left out by the reader
    size = sum(entry.size for entry in entries if entry.tag not in _STRIP_TAGS and entry.size <= len(data))
    if size > MAX_TAG_BYTES:
        raise ImageError(
            f"a TIFF with {size / 1e6:.0f} MB of tags, more than the limit of {MAX_TAG_BYTES / 1e6:.0f} MB; "
            "save it again"
        )


def _refuse_ppm(data: bytes) -> None:
    """Refuse a long header, whose comments are read byte by byte."""
    words = 3 if data[1:2] in b"14" else 4
    if len(data) > MAX_PPM_HEADER and len(_COMMENT.sub(b"", data[:MAX_PPM_HEADER]).split(None, words)) <= words:
        raise ImageError(f"a PPM with a header longer than {MAX_PPM_HEADER:,} bytes; save it again")


def _are_more_than(most: int, parts: Iterable[Part]) -> bool:
    return next(islice(parts, most, None), None) is not None
