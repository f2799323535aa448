"""Lists of paths come as many programs write them, and as soon as a path is complete."""

import io
import os
import threading

import pytest

from firstlight.delivery import path_lists
from firstlight.delivery.path_lists import read_paths

NAMES = ["photos/cat/000.png", "photos/ñandú 1.png", "  x.png "]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 2**16])
@pytest.mark.parametrize(
    ("mark", "encoding", "end"),
    [
        (b"", "utf-8", "\n"),
        (b"", "utf-8", "\r\n"),
        (b"", "utf-8", "\0"),
        (b"\xef\xbb\xbf", "utf-8", "\n"),
        (b"\xff\xfe", "utf-16-le", "\r\n"),
        (b"\xfe\xff", "utf-16-be", "\n"),
    ],
)
def test_every_kind_of_list_gives_the_same_paths(chunk_bytes, mark, encoding, end, monkeypatch):
    monkeypatch.setattr(path_lists, "CHUNK_BYTES", chunk_bytes)
    for text in (end.join(NAMES), end.join(NAMES) + end):
        assert list(read_paths(io.BytesIO(mark + text.encode(encoding)))) == NAMES


def test_odd_lists():
    def paths(data: bytes) -> list[str]:
        return list(read_paths(io.BytesIO(data)))

    assert paths(b"") == paths(b"\n\n\r\n") == paths(b"\xef\xbb\xbf") == []
    assert paths(b"a\xe9.png\n") == [os.fsdecode(b"a\xe9.png")], "bytes of any encoding are kept"
    assert paths(b"a\nb.png\0c.png\0d.png\0") == ["a\nb.png", "c.png", "d.png"], "a line end may be part of a name"
    assert paths(b"a.png\nb\0.png\nc.png\n") == ["a.png", "b\0.png", "c.png"], "a zero byte in a line is that line's"


def test_a_path_is_there_as_soon_as_its_line_ends():
    source, sink = os.pipe()
    with open(source, "rb") as stream, open(sink, "wb", buffering=0) as writer:  # noqa: PTH123 - descriptors
        paths = read_paths(stream)
        for name in ("a.png", "b.png"):
            threading.Timer(0, writer.write, [f"{name}\n".encode()]).start()
            assert next(paths) == name
