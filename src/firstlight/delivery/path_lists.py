"""Read lists of paths as other programs write them: one per line, or ended by zero bytes (`find -print0`)."""

import codecs
import os
from collections.abc import Iterator
from io import BufferedIOBase
from typing import BinaryIO, cast

CHUNK_BYTES = 2**16
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: None, codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def read_paths(stream: BinaryIO) -> Iterator[str]:
    """Yield the paths in a stream as they come. UTF-16, which some shells of Windows write, is understood.

    Args:
        stream: bytes, as of standard input; names that are not valid Unicode keep theirs, as by `os.fsdecode`.
    """
    read = cast(BufferedIOBase, stream).read1  # what has come so far, where `read` would wait for all
    waiting = b""
    while (chunk := read(CHUNK_BYTES)) and not _has_end(waiting + chunk):
        waiting += chunk
    waiting += chunk
    decoder, waiting = _decoder_for(waiting)
    end = b"\0" if waiting.count(b"\0") > waiting.count(b"\n") and decoder is None else b"\n"
    rest = b""
    while waiting:
        *complete, rest = (rest + (decoder.decode(waiting).encode("utf-8") if decoder else waiting)).split(end)
        yield from _paths(complete)
        waiting = read(CHUNK_BYTES)
    yield from _paths([rest])


def _has_end(data: bytes) -> bool:
    return b"\n" in data or b"\0" in data[4:]


def _decoder_for(data: bytes) -> "tuple[codecs.IncrementalDecoder | None, bytes]":
    """Return what decodes UTF-16 if the list begins so, and the list's first bytes without a byte order mark."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return codecs.getincrementaldecoder(encoding)("replace") if encoding else None, data[len(mark) :]
    return None, data


def _paths(lines: list[bytes]) -> Iterator[str]:
    for line in lines:
        if path := line.rstrip(b"\r\n"):
            yield os.fsdecode(path)
