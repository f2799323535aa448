"""Bodies are counted as they come, and refused at the first byte too many."""

from dataclasses import replace

import pytest

from firstlight.delivery.serve.guard.body import LimitBody
from firstlight.delivery.serve.guard.limits import Limits

MOST = 100_000
LIMITS = Limits(body_bytes=MOST, bodies_bytes=3 * MOST)
HOST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
SIZES = [0, 1, 2, 63, 1000, 4096, 65_535, 65_536, 65_537, MOST - 1, MOST]
TOO_LARGE = [MOST + 1, MOST + 2, 2 * MOST, 10 * MOST, 1 << 20, 1 << 24, 1 << 31, 1 << 40, (1 << 63) - 1]


def chunked(size: int) -> bytes:
    parts = [min(8192, size - start) for start in range(0, size, 8192)]
    return b"".join(b"%x\r\n" % part + bytes(part) + b"\r\n" for part in parts) + b"0\r\n\r\n"


@pytest.fixture
def server(serve, counting):
    return serve(LimitBody(counting, LIMITS), Limits())


@pytest.mark.parametrize("size", SIZES)
def test_a_body_within_the_limit_is_read_whole(server, size):
    assert server.ask(HOST + b"Content-Length: %d\r\n\r\n" % size + bytes(size)).body == b"%d" % size
    assert server.ask(HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(size)).body == b"%d" % size


@pytest.mark.parametrize("size", TOO_LARGE)
def test_a_body_that_says_it_is_too_large_is_refused_before_a_byte_of_it(server, counting, size):
    answer = server.ask(HOST + b"Content-Length: %d\r\n\r\n" % size)
    assert answer.status == 413
    assert "larger than 100,000 bytes" in answer.error
    assert answer.headers["connection"] == "close"
    assert not counting.paths


@pytest.mark.parametrize("size", [size for size in TOO_LARGE if size <= 1 << 24])
def test_a_chunked_body_is_refused_when_it_becomes_too_large_without_its_end(server, counting, size):
    """The last chunk never comes: whoever waited for it would answer nothing."""
    answer = server.ask(HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(size)[:-5])
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    assert counting.read <= MOST


def test_without_the_guard_a_body_may_have_any_size(serve, counting):
    serve(counting, Limits()).ask(HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(1 << 24))
    assert counting.read == 1 << 24


def test_a_client_that_expects_leave_to_continue_is_refused_instead(server):
    answer = server.ask(HOST + b"Expect: 100-continue\r\nContent-Length: 200000\r\n\r\n")
    assert answer.status == 413


def test_a_body_longer_than_it_says_does_not_count_as_one(server, counting):
    answer = server.ask(HOST + b"Content-Length: 10\r\n\r\n" + bytes(5 * MOST))
    assert answer.body == b"10"
    assert counting.paths == ["/"]


def test_an_application_that_makes_an_answer_of_every_error_cannot_hide_the_refusal(call):
    """As FastAPI does: what is raised while it reads a body becomes 400."""

    async def stubborn(scope, receive, send):
        try:
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
            if message["type"] == "http.disconnect":
                raise RuntimeError
        except RuntimeError:
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"bad"})
            raise

    headers = [("Host", "localhost"), ("Transfer-Encoding", "chunked")]
    answer = call(LimitBody(stubborn, LIMITS), "POST", "/", headers, [bytes(60_000)] * 3)
    assert answer.status == 413


def test_a_mistake_of_the_application_is_not_hidden(call):
    async def broken(scope, receive, send):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(LimitBody(broken, LIMITS))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "x-gzip", "compress"])
def test_compressed_bodies_are_refused_unread(call, counting, coding):
    app = LimitBody(counting, LIMITS)
    headers = [("Host", "localhost"), ("Content-Encoding", coding), ("Content-Length", "20")]
    answer = call(app, "POST", "/", headers, [bytes(20)])
    assert answer.status == 415
    assert "compressed" in answer.error
    assert not counting.paths
    assert call(app, "POST", "/", [("Content-Encoding", "identity")], [b"x"]).status == 200


def test_all_bodies_together_have_a_limit(serve, answer_of, counting):
    app = LimitBody(counting, LIMITS)
    server = serve(app, Limits())
    open_ = [server.connect() for _ in range(3)]
    for connection in open_:
        connection.sendall(HOST + b"Content-Length: 100000\r\n\r\n" + bytes(99_999))
    server.settle()
    one_more = HOST + b"Content-Length: 90000\r\n\r\n" + bytes(90_000)
    answer = server.ask(one_more)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "too many uploads" in answer.error
    for connection in open_:
        connection.sendall(b"x")
        assert answer_of(connection).status == 200
        connection.close()
    assert server.ask(one_more).status == 200
    server.settle()
    assert app.held_bytes == 0


def test_an_answer_before_the_end_of_a_body_closes_the_connection(serve, answer_of, closed):
    async def hasty(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    server = serve(LimitBody(hasty, LIMITS), replace(Limits(), linger_seconds=0.1))
    with server.connect() as connection:
        connection.sendall(HOST + b"Content-Length: 1000\r\n\r\n")
        assert answer_of(connection).headers["connection"] == "close"
        assert closed(connection)
    with server.connect() as connection:
        connection.sendall(HOST + b"\r\n")
        assert "connection" not in answer_of(connection).headers


def test_a_client_that_leaves_is_no_error(serve, counting, caplog):
    async def strict(scope, receive, send):
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        if message["type"] == "http.disconnect":
            raise RuntimeError("the client has gone")

    server = serve(LimitBody(strict, LIMITS), Limits())
    with server.connect() as connection:
        connection.sendall(HOST + b"Content-Length: 1000\r\n\r\n")
        server.settle()
    server.settle()
    assert not caplog.records
