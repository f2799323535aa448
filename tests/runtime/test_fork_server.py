"""What a worker does with its tasks, in this process, where it can be watched."""

import socket

import pytest

from firstlight.runtime.fork_server import FAILURE, RESULT, load, serve_tasks
from firstlight.runtime.frames import halves, map_memory, receive_frame, send_frame, shared_memory

NO_LIMIT = 0  # of processor time: it would end this process


def work(what: memoryview, *rest: memoryview) -> list[memoryview]:
    if what == b"bug":
        raise ValueError("a \udce9 bug")
    if what == b"flood":
        raise MemoryError
    return list(rest)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_tasks_are_answered_in_order_until_the_program_closes_its_end(ends):
    ours, theirs = ends
    for blocks in ([b"one", b"1", b""], [b"bug"], [b"two", b"2"]):
        send_frame(ours, 0, blocks)
    ours.shutdown(socket.SHUT_WR)
    serve_tasks(theirs, work, NO_LIMIT)
    answers = [receive_frame(ours, max_bytes=1000) for _ in range(3)]
    assert answers == [(RESULT, [b"1", b""]), (FAILURE, [b"ValueError: a \\udce9 bug"]), (RESULT, [b"2"])]


def test_tasks_and_answers_go_through_shared_memory(ends):
    ours, theirs = ends
    shared = shared_memory(100)
    if shared is None:
        pytest.skip("memory is shared on Linux only")
    memory = map_memory(shared)
    given, answers = halves(memory)
    send_frame(ours, 0, [b"one", b"abc", b"de"], given)
    ours.shutdown(socket.SHUT_WR)
    serve_tasks(theirs, work, NO_LIMIT, memory)
    assert receive_frame(ours, max_bytes=1000, shared=answers) == (RESULT, [b"abc", b"de"])
    assert bytes(given[:8]) == b"oneabcde"
    assert bytes(answers[:5]) == b"abcde"


def test_a_flood_of_memory_ends_the_worker_not_the_task_alone(ends):
    ours, theirs = ends
    send_frame(ours, 0, [b"flood"])
    with pytest.raises(MemoryError):
        serve_tasks(theirs, work, NO_LIMIT)


def test_work_is_found_by_its_name():
    assert load("posixpath:join")("a", "b") == "a/b"
    with pytest.raises(AttributeError):
        load("posixpath:nothing")
