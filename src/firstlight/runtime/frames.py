"""Frames: a few blocks of bytes, sent over a socket as they are. Nothing in them is unpickled."""

import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

_HEAD = struct.Struct("<BI")  # what kind of frame it is, and how many blocks follow
_LENGTH = struct.Struct("<Q")  # of one block, in bytes
_TIME = struct.Struct("ll")  # struct timeval
MAX_BLOCKS = 64

Block = bytes | bytearray | memoryview


class BrokenFrameError(Exception):
    """What arrived is no frame, or a larger one than may be sent."""


def send_frame(to: socket.socket, kind: int, blocks: Sequence[Block]) -> None:
    """Send blocks of bytes; `kind` is a number from 0 to 255 that the receiver gets as well.

    Raises:
        OSError: if the other end is closed; TimeoutError, which is one, if the socket has a timeout and it passes.
    """
    views = [memoryview(block).cast("B") for block in blocks]
    head = _HEAD.pack(kind, len(views)) + b"".join(_LENGTH.pack(view.nbytes) for view in views)
    if sum(view.nbytes for view in views) < 1 << 16:  # one small message instead of several
        to.sendall(head + b"".join(views))
        return
    to.sendall(head)
    for view in views:
        to.sendall(view)


def receive_frame(
    sender: socket.socket, *, max_bytes: int, until: float | None = None
) -> tuple[int, list[bytearray]] | None:
    """Return the kind and the blocks of the next frame; None if the other end is closed before it begins.

    Args:
        sender: the socket.
        max_bytes: that all blocks may have together.
        until: when to give up, on the clock of `time.monotonic`.

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
    kind, count = _HEAD.unpack(head)
    if count > MAX_BLOCKS:
        raise BrokenFrameError(f"{count} blocks")
    lengths = [length for (length,) in _LENGTH.iter_unpack(_all(sender, _LENGTH.size * count, until))]
    if sum(lengths) > max_bytes:
        raise BrokenFrameError(f"{sum(lengths)} bytes")
    return kind, [_all(sender, length, until) for length in lengths]


def _all(sender: socket.socket, length: int, until: float | None) -> bytearray:
    block = _receive(sender, length, until)
    if len(block) < length:
        raise BrokenFrameError("it ends early")
    return block


def _receive(sender: socket.socket, length: int, until: float | None) -> bytearray:
    """Return that many bytes, or none if the other end is closed before the first of them; fewer if after it."""
    block = bytearray(length)
    view, done = memoryview(block), 0
    while done < length:
        if until is not None:  # the system keeps the time, so that it wakes this process once, not for every part
            left = max(until - time.monotonic(), 0.0)
            if not left:
                raise TimeoutError
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIME.pack(int(left), int(left % 1 * 1e6) + 1))
        with suppress(BlockingIOError):  # the time is up
            received = sender.recv_into(view[done:], 0, socket.MSG_WAITALL)
            if not received:
                break
            done += received
    view.release()
    del block[done:]
    return block
