"""Frames: a few blocks of bytes, sent to another process as they are. Nothing in them is unpickled.

They go through a socket, or through memory that both processes share, if there is any and they fit into it.
"""

import fcntl
import mmap
import os
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

Block = bytes | bytearray | memoryview

_HEAD = struct.Struct(
    "<?BBQ"
)  # whether the blocks are in shared memory, the kind of frame, how many, bytes that follow
_LENGTH = struct.Struct("<Q")  # of one block, in bytes
_TIME = struct.Struct("ll")  # struct timeval: seconds and microseconds
MAX_BLOCKS = 64


class BrokenFrameError(Exception):
    """What arrived is no frame, or a larger one than may be sent."""


def shared_memory(size: int) -> int | None:
    """Return the descriptor of memory for `map_memory`, in this process and in others (Linux; else None).

    None of them can make it smaller, which would end the others when they read it.
    """
    if not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create("firstlight", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def map_memory(descriptor: int) -> memoryview:
    """Return the bytes of shared memory, and close its descriptor."""
    try:
        return memoryview(mmap.mmap(descriptor, 0))
    finally:
        os.close(descriptor)


def halves(shared: memoryview | None) -> tuple[memoryview | None, memoryview | None]:
    """Return the halves of shared memory: the one that tasks are sent through, and the one for answers."""
    if shared is None:
        return None, None
    middle = len(shared) // 2
    return shared[:middle], shared[middle:]


def limit_waiting(channel: socket.socket, seconds: float) -> None:
    """Let the system end every wait for the other side after so many seconds."""
    limit = _TIME.pack(int(seconds), max(1, int(seconds % 1 * 1e6)))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        channel.setsockopt(socket.SOL_SOCKET, option, limit)


def send_frame(to: socket.socket, kind: int, blocks: Sequence[Block], shared: memoryview | None = None) -> None:
    """Send blocks of bytes; `kind` is a number from 0 to 255 that the receiver gets as well.

    Args:
        to: the socket.
        kind: of the frame.
        blocks: at most `MAX_BLOCKS`.
        shared: memory that the receiver shares, and does not use now.

    Raises:
        OSError: if the other end is closed, or waiting is limited and takes too long.
    """
    views = [memoryview(block).cast("B") for block in blocks]
    lengths, size = b"".join(_LENGTH.pack(view.nbytes) for view in views), sum(view.nbytes for view in views)
    if shared is not None and size <= len(shared):
        done = 0
        for view in views:
            shared[done : done + view.nbytes] = view
            done += view.nbytes
        to.sendall(_HEAD.pack(1, kind, len(views), len(lengths)) + lengths)
        return
    head = _HEAD.pack(0, kind, len(views), len(lengths) + size) + lengths
    if size < 1 << 16:  # one small message instead of several
        to.sendall(head + b"".join(views))
        return
    to.sendall(head)
    for view in views:
        to.sendall(view)


def receive_frame(
    sender: socket.socket, *, max_bytes: int, until: float | None = None, shared: memoryview | None = None
) -> tuple[int, list[memoryview]] | None:
    """Return the kind and the blocks of the next frame; None if the other end is closed before it begins.

    Args:
        sender: the socket.
        max_bytes: that all blocks may have together.
        until: when to give up, on the clock of `time.monotonic`; also needs `limit_waiting`.
        shared: memory that the sender shares; the blocks may be parts of it.

    Raises:
        BrokenFrameError: if what arrives is no frame, is larger than that, or ends early.
        TimeoutError: at that time.
        OSError: if the other end is closed with a frame unread.
    """
    head = _receive(sender, _HEAD.size, until)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise BrokenFrameError("it ends early")
    is_shared, kind, count, size = _HEAD.unpack(head)
    start = _LENGTH.size * count
    if count > MAX_BLOCKS or not start <= size <= max_bytes + start:
        raise BrokenFrameError(f"{count} blocks of {size} bytes")
    body = memoryview(_receive(sender, size, until))
    if len(body) < size:
        raise BrokenFrameError("it ends early")
    lengths = [length for (length,) in _LENGTH.iter_unpack(body[:start])]
    if is_shared:
        body, start = memoryview(b"") if shared is None else shared, 0
    if start + sum(lengths) > len(body) or sum(lengths) > max_bytes:
        raise BrokenFrameError(f"{sum(lengths)} bytes")
    blocks = []
    for length in lengths:
        blocks.append(body[start : start + length])
        start += length
    return kind, blocks


def _receive(sender: socket.socket, length: int, until: float | None) -> bytearray:
    """Return that many bytes, or none if the other end is closed before the first of them; fewer if after it."""
    block = bytearray(length)
    view, done = memoryview(block), 0
    while done < length:
        if until is not None and time.monotonic() > until:
            raise TimeoutError
        with suppress(BlockingIOError):  # the system has ended the wait
            received = sender.recv_into(view[done:], 0, socket.MSG_WAITALL)
            if not received:
                break
            done += received
    view.release()
    del block[done:]
    return block
