import socket
import threading
import time

import pytest

from firstlight.runtime.frames import BrokenFrameError, receive_frame, send_frame


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("blocks", [[], [b""], [b"a", bytearray(b"bc"), memoryview(b"def")], [bytes(3_000_000), b"x"]])
def test_a_frame_arrives_as_it_was_sent(ends, blocks):
    sender = threading.Thread(target=send_frame, args=(ends[0], 7, blocks))
    sender.start()
    assert receive_frame(ends[1], max_bytes=4_000_000) == (7, [bytes(block) for block in blocks])
    sender.join()


def test_a_closed_end_is_no_frame(ends):
    ends[0].close()
    assert receive_frame(ends[1], max_bytes=1) is None


@pytest.mark.parametrize(
    "sent",
    [
        b"\0",  # ends in its head
        b"\0\1\0\0\0",  # ends before the length of its block
        b"\0\1\0\0\0" + (5).to_bytes(8, "little") + b"abc",  # ends in its block
        b"\0\1\0\0\0" + (1 << 62).to_bytes(8, "little"),  # more than may be sent
        b"\0\xff\xff\xff\xff",  # four billion blocks
    ],
)
def test_what_is_no_frame_is_refused_without_taking_memory_for_it(ends, sent):
    ends[0].sendall(sent)
    ends[0].close()
    with pytest.raises(BrokenFrameError):
        receive_frame(ends[1], max_bytes=1000)


@pytest.mark.parametrize("sent", [b"", b"\0\1\0\0\0" + (5).to_bytes(8, "little") + b"abc"])
def test_waiting_ends_at_its_time(ends, sent):
    ends[0].sendall(sent)
    with pytest.raises(TimeoutError):
        receive_frame(ends[1], max_bytes=1000, until=time.monotonic() + 0.05)
