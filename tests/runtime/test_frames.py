import os
import socket
import sys
import threading
import time

import pytest

from firstlight.runtime.frames import (
    BrokenFrameError,
    limit_waiting,
    map_memory,
    receive_frame,
    send_frame,
    shared_memory,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is shared on Linux only")


def head(is_shared: bool, count: int, size: int) -> bytes:
    return bytes([is_shared, 0, count]) + size.to_bytes(8, "little")


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


BLOCKS = [[], [b""], [b"a", bytearray(b"bc"), memoryview(b"def")], [bytes(3_000_000), b"x"]]


@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_frame_arrives_as_it_was_sent(ends, blocks):
    sender = threading.Thread(target=send_frame, args=(ends[0], 7, blocks))
    sender.start()
    assert receive_frame(ends[1], max_bytes=4_000_000) == (7, [bytes(block) for block in blocks])
    sender.join()


@LINUX
@pytest.mark.parametrize("blocks", BLOCKS)
def test_blocks_go_through_shared_memory_if_they_fit(ends, blocks):
    descriptor = shared_memory(1000)
    ours, theirs = map_memory(os.dup(descriptor)), map_memory(descriptor)
    sender = threading.Thread(target=send_frame, args=(ends[0], 7, blocks, theirs))
    sender.start()
    kind, received = receive_frame(ends[1], max_bytes=4_000_000, shared=ours)
    sender.join()
    assert (kind, received) == (7, [bytes(block) for block in blocks])
    through_memory = b"".join(blocks) if sum(map(len, blocks)) <= 1000 else b""
    assert bytes(theirs[: len(through_memory)]) == through_memory


@LINUX
def test_nobody_can_make_shared_memory_smaller():
    descriptor = shared_memory(1000)
    for size in (0, 999, 100_000):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)
    os.close(descriptor)


def test_a_closed_end_is_no_frame(ends):
    ends[0].close()
    assert receive_frame(ends[1], max_bytes=1) is None


@pytest.mark.parametrize(
    "sent",
    [
        b"\0",  # ends in its head
        head(False, 1, 13),  # ends before the length of its block
        head(False, 1, 13) + (5).to_bytes(8, "little") + b"abc",  # ends in its block
        head(False, 1, 8) + (5).to_bytes(8, "little"),  # is shorter than its block
        head(False, 1, 7) + b"1234567",  # is shorter than the length of its block
        head(False, 1, 1 << 62),  # more than may be sent
        head(False, 200, 1600),  # too many blocks
        head(True, 1, 8) + (5).to_bytes(8, "little"),  # in shared memory, which is not there
    ],
)
def test_what_is_no_frame_is_refused_without_taking_memory_for_it(ends, sent):
    ends[0].sendall(sent)
    ends[0].close()
    with pytest.raises(BrokenFrameError):
        receive_frame(ends[1], max_bytes=1000)


@pytest.mark.parametrize("sent", [b"", head(False, 1, 13) + b"abc"])
def test_waiting_ends_at_its_time(ends, sent):
    limit_waiting(ends[1], 0.05)
    ends[0].sendall(sent)
    with pytest.raises(TimeoutError):
        receive_frame(ends[1], max_bytes=1000, until=time.monotonic() + 0.05)


@LINUX
def test_a_lie_about_shared_memory_is_refused(ends):
    ends[0].sendall(head(True, 2, 16) + (600).to_bytes(8, "little") * 2)
    with pytest.raises(BrokenFrameError):
        receive_frame(ends[1], max_bytes=10_000, shared=map_memory(shared_memory(1000)))
