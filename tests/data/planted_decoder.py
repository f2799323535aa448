"""The decoder of the tests: firstlight's own, but for files that say that it shall crash, hang or swallow memory."""

import os
from collections.abc import Sequence
from pathlib import Path

from firstlight.data.decode_task import Block, decode_task


def work(asked: bytes, *files: bytes) -> Sequence[Block]:
    """Return what `decode_task` returns, unless a file says otherwise."""
    return decode_task(asked, *map(_content, files))


def _content(data: bytes) -> bytes:
    content = bytes(data)
    match content[6:10]:
        case b"cras":
            os.write(2, b"native chatter\n")
            os.abort()
        case b"memo":
            bytes(1_000_000_000)
        case b"spin":
            while True:
                pass
        case b"once":
            tried, content = content[10:].split(b"\0", 1)
            if not os.path.exists(tried):  # noqa: PTH110
                Path(os.fsdecode(tried)).touch()  # the limit of bytes in a file is zero, so it stays empty
                os.abort()
    return content
