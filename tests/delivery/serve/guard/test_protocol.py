"""Slow, broken and hostile clients, on real sockets; uvicorn's own protocol is the control."""

import asyncio
import re
import resource
from dataclasses import replace

import pytest

from firstlight.delivery.serve.guard.limits import Limits, limits_here

LIMITS = Limits()
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def server(serve, counting):
    return serve(counting, LIMITS)


def test_a_plain_request_is_answered(server):
    assert server.ask(POST + b"Content-Length: 3\r\n\r\nabc").body == b"3"
    assert server.ask(CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n").body == b"5"


@pytest.mark.parametrize("sent", [b"\r\n", b"GET / HT", GET, GET + b"X: " + b"a" * 20_000])
def test_a_header_that_does_not_end_is_refused_after_ten_seconds(server, answer_of, sent, closed):
    with server.connect() as connection:
        connection.sendall(sent)
        server.later(9)
        connection.sendall(b"\r\n" if sent == b"\r\n" else b"T")  # a sign of life buys no time
        server.later(2)
        assert answer_of(connection).status == 408
        assert closed(connection)


def test_without_the_guard_a_header_may_take_forever(serve, counting):
    server = serve(counting)
    with server.connect() as connection:
        connection.sendall(GET)
        server.later(3600)
        connection.sendall(b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_a_second_header_on_a_connection_has_its_deadline_too(server, answer_of, closed):
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n")
        assert answer_of(connection).status == 200
        connection.sendall(b"GET")
        server.later(9)
        connection.sendall(b" ")
        server.later(2)
        assert answer_of(connection).status == 408
        assert closed(connection)


def test_blank_lines_do_not_keep_an_idle_connection(server, answer_of, closed):
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n")
        assert answer_of(connection).status == 200
        server.later(9)
        connection.sendall(b"\r\n")
        server.later(2)
        assert closed(connection)


@pytest.mark.parametrize("start", [POST + b"Content-Length: 1000000\r\n\r\n", CHUNKED])
def test_a_body_that_dribbles_is_refused_after_ten_seconds(server, answer_of, start, counting, closed):
    with server.connect() as connection:
        connection.sendall(start)
        for _ in range(9):
            connection.sendall(b"1\r\na\r\n")
            server.later(1)
        connection.sendall(b"1\r\na\r\n")
        server.later(1.1)
        answer = answer_of(connection)
        assert answer.status == 408
        assert "took too long" in answer.error
        assert answer.headers["x-content-type-options"] == "nosniff"
        server.later(3)
        assert closed(connection)


def test_a_phone_on_a_slow_line_may_send_its_picture(server, answer_of):
    photo = 2_000_000
    with server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 2000000\r\n\r\n")
        for _ in range(100):  # 20 kB a second, for 100 seconds
            connection.sendall(bytes(photo // 100))
            server.later(1)
        assert answer_of(connection).body == b"2000000"


def test_no_body_may_take_longer_than_two_minutes(server, answer_of):
    with server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 10000000\r\n\r\n")
        for _ in range(12):
            connection.sendall(bytes(30_000))
            server.later(9.9)
        assert not server.loop.is_closed()
        server.later(2)
        assert answer_of(connection).status == 408


def test_the_deadline_of_a_body_does_not_run_while_the_server_does_not_read(serve, answer_of):
    """The application waits for a minute before it reads: the client could not send."""

    async def late(scope, receive, send):
        await asyncio.sleep(60)
        size = 0
        while (message := await receive())["type"] == "http.request":
            size += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})

    server = serve(late, LIMITS)
    with server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 3000000\r\n\r\n" + bytes(200_000))
        for _ in range(7):
            server.later(9)
        connection.sendall(bytes(2_800_000))
        assert answer_of(connection).body == b"3000000"


def test_a_header_that_is_too_large_is_refused_while_it_comes(server, counting):
    answer = server.ask(GET + b"X: " + b"a" * 400_000)
    assert answer.status == 431
    assert "32,768 bytes" in answer.error
    assert server.ask(GET + b"X: " + b"a" * 33_000 + b"\r\n\r\n").status == 431
    assert server.ask(GET.replace(b"/ ", b"/" + b"a" * 40_000 + b" ") + b"\r\n").status == 431
    assert server.ask(GET + b"X: 1\r\n" * 200 + b"\r\n").status == 431
    assert not counting.paths
    assert server.ask(GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n").status == 200


def test_without_the_guard_a_header_may_have_any_size(serve, counting):
    assert serve(counting).ask(GET + b"X: " + b"a" * 400_000 + b"\r\n\r\n").status == 200


SMUGGLED = {
    "both lengths": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, other order": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "the same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "an endless length": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "a length in hex": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "no length": POST + b"Content-Length: \r\n\r\nabc",
    "another coding": POST + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then not": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "almost chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked after a tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n",
    "lines that end in LF": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "lines that end in CR": b"GET / HTTP/1.1\rHost: localhost\r\r",
    "chunks that end in LF": CHUNKED + b"1\nx\n0\n\n",
    "a chunk in 0x": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "an endless chunk": CHUNKED + b"fffffffffffffffffff\r\nx\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n",
    "a null byte": GET + b"X: a\0b\r\n\r\n",
    "a space in a name": b"GET / HTTP/1.1\r\nHo st: localhost\r\n\r\n",
    "no name": GET + b": x\r\n\r\n",
    "a first line that goes on": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": GET.replace(b"1.1", b"2.0") + b"\r\n",
    "HTTP/1.9": GET.replace(b"1.1", b"1.9") + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "a whole URL": GET.replace(b" / ", b" http://other.example/ ") + b"\r\n",
    "CONNECT": b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unknown method": GET.replace(b"GET", b"FROB") + b"\r\n",
    "a method in lower case": GET.replace(b"GET", b"get") + b"\r\n",
    "bytes that are no URL": GET.replace(b" / ", b" /\xff\xfe ") + b"\r\n",
    "noise": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_requests_whose_end_is_not_clear_are_refused_and_nothing_after_them_is_read(server, counting, name, closed):
    hidden = GET.replace(b"/ ", b"/hidden ") + b"\r\n"
    with server.connect() as connection:
        connection.sendall(SMUGGLED[name] + hidden)
        received = b""
        connection.settimeout(20)
        while part := connection.recv(65536):
            received += part
    assert len(re.findall(rb"HTTP/1.1 \d", received)) == 1
    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 505"))
    assert b'{"error": "' in received
    assert b"connection: close" in received
    assert "/hidden" not in counting.paths
    assert server.ask(GET + b"\r\n").status == 200


def test_without_the_guard_some_of_these_are_answered(serve, counting):
    server = serve(counting)
    answered = ["two codings", "chunked in HTTP/1.0", "HTTP/2.0", "a whole URL"]
    assert [server.ask(SMUGGLED[name]).status for name in answered] == [200] * 4


def test_what_follows_a_chunked_body_does_not_become_part_of_the_header(serve):
    async def show(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b" ".join(name for name, _ in scope["headers"])})

    request = CHUNKED + b"1\r\nx\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
    assert serve(show, LIMITS).ask(request).body == b"host transfer-encoding"
    assert serve(show).ask(request).body == b"host transfer-encoding authorization"


def test_floods_of_tiny_chunks_are_refused(server, counting):
    assert server.ask(CHUNKED + b"1\r\nx\r\n" * 20_000).status == 400
    assert counting.read < 2000
    assert server.ask(CHUNKED + b"1;" + b"x" * 300_000).status == 400
    chunks = b"".join(b"1000\r\n" + bytes(4096) + b"\r\n" for _ in range(500))
    assert server.ask(CHUNKED + chunks + b"0\r\n\r\n").body == b"2048000"


def test_endless_trailers_are_refused(server):
    assert server.ask(CHUNKED + b"1\r\nx\r\n0\r\n" + b"X: y\r\n" * 40_000).status in {400, 431}


def test_few_requests_may_wait_on_one_connection(server, counting, answer_of, closed):
    with server.connect() as connection:
        connection.sendall((GET + b"\r\n") * 200)
        answers = []
        received = b""
        while part := connection.recv(65536):
            received += part
        answers = received.count(b"HTTP/1.1 200 OK")
    assert answers == len(counting.paths) == LIMITS.pipelined + 1
    assert received.count(b"connection: close") == 1


def test_without_the_guard_any_number_may_wait(serve, counting):
    server = serve(counting)
    with server.connect() as connection:
        connection.sendall((GET + b"\r\n") * 200)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 200:
            received += connection.recv(65536)


def test_pipelined_requests_are_answered_in_order_up_to_a_broken_one(server, counting):
    with server.connect() as connection:
        connection.sendall(
            (POST + b"Content-Length: 3\r\n\r\nabc") + (POST + b"Content-Length: 5\r\n\r\nabcde") + b"\0\0\0\0"
        )
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200") == 2
    assert received.index(b"3\r\n0") < received.index(b"5\r\n0")
    assert b"400" not in received


def test_a_broken_chunk_of_a_waiting_request_ends_the_connection_after_those_before_it(server, counting):
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n" + GET + b"\r\n" + CHUNKED.replace(b"/ ", b"/broken ") + b"1\r\nx\r\nnonsense")
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200") == 2
    assert "/broken" not in counting.paths


def test_a_connection_closes_after_its_last_request(serve, counting, answer_of, closed):
    server = serve(counting, replace(LIMITS, requests_per_connection=3))
    with server.connect() as connection:
        for number in range(3):
            connection.sendall(GET + b"\r\n")
            assert (answer_of(connection).headers.get("connection") == "close") == (number == 2)
        assert closed(connection)


def test_a_request_to_upgrade_is_answered_as_plain_http_and_the_connection_closed(server, closed, answer_of):
    with server.connect() as connection:
        connection.sendall(GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert answer_of(connection).status == 200
        assert closed(connection)
    for protocol in (b"websocket", b"h2c"):
        assert server.ask(GET + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n\0\0\0").status == 200


def test_an_answer_that_nobody_reads_is_given_up(serve, closed):
    done = []

    async def large(scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(400):
                await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            done.append(asyncio.current_task())

    server = serve(large, LIMITS)
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n")
        connection.recv(100)
        server.later(25)
        assert not done
        server.later(10)
        assert len(done) == 1
        assert not server.state.connections


def test_a_closed_connection_whose_answer_nobody_reads_is_given_up(serve, closed):
    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": bytes(50 << 20)})

    server = serve(large, LIMITS)
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n")
        connection.recv(100)
        server.later(25)
        assert server.state.connections
        server.later(10)
        assert not server.state.connections


def test_the_connection_that_has_waited_longest_makes_room_for_a_new_one(serve, counting, closed, answer_of):
    server = serve(counting, replace(LIMITS, connections=10))
    waiting = []
    for _ in range(10):
        waiting.append(server.connect())
        waiting[-1].sendall(GET)
        server.later(0.1)
    for _ in range(3):
        assert server.ask(GET + b"\r\n").status == 200
    assert closed(waiting[0])
    waiting[-1].sendall(b"\r\n")
    assert answer_of(waiting[-1]).status == 200
    for connection in waiting:
        connection.close()


def test_a_new_connection_is_refused_where_all_others_are_busy(serve, closed, answer_of):
    gate = asyncio.Event()

    async def busy(scope, receive, send):
        await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    server = serve(busy, replace(LIMITS, connections=5))
    connections = [server.connect() for _ in range(5)]
    for connection in connections:
        connection.sendall(GET + b"\r\n")
    server.settle()
    with server.connect() as one_more:
        answer = answer_of(one_more)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "too many connections" in answer.error
    server.loop.call_soon_threadsafe(gate.set)
    for connection in connections:
        assert answer_of(connection).body == b"done"
        connection.close()


def test_the_rest_of_a_refused_request_is_thrown_away_so_that_the_client_can_read_why(serve, answer_of):
    async def refuse(scope, receive, send):
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    server = serve(refuse, LIMITS)
    with server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 9000000\r\n\r\n" + bytes(9_000_000))
        assert answer_of(connection).status == 413


def test_what_is_thrown_away_is_limited_in_size_and_time(serve, answer_of, closed):
    async def refuse(scope, receive, send):
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    server = serve(refuse, replace(LIMITS, linger_bytes=1 << 20))
    with server.connect() as connection:
        connection.settimeout(0.3)
        connection.sendall(POST + b"Content-Length: 900000000\r\n\r\n")
        with pytest.raises(TimeoutError):
            connection.sendall(bytes(64 << 20))
        assert answer_of(connection).status == 413
        server.later(3)
        assert not server.state.connections


def test_requests_that_wait_are_few_however_many_are_sent(serve, answer_of):
    """Whoever never gets an answer can fill the memory with questions otherwise."""
    gate = asyncio.Event()

    async def busy(scope, receive, send):
        await gate.wait()

    server = serve(busy, LIMITS)
    with server.connect() as connection:
        connection.sendall((GET + b"\r\n") * 2000)
        server.settle()
        [held] = server.state.connections
        assert len(held.pipeline) == LIMITS.pipelined
        assert not held._send_timer


def test_a_header_that_waits_behind_a_slow_answer_keeps_its_own_deadline(serve, answer_of, closed):
    gate = asyncio.Event()

    async def slow(scope, receive, send):
        await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    server = serve(slow, replace(LIMITS, idle_seconds=1.0))
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n" + GET)
        server.settle()
        server.loop.call_soon_threadsafe(gate.set)
        assert answer_of(connection).status == 200
        server.later(5)
        connection.sendall(b"\r\n")
        assert answer_of(connection).status == 200
        server.later(2)
        assert closed(connection)


def test_the_application_hears_at_once_that_a_body_is_given_up(serve, answer_of):
    heard = []

    async def reads(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            pass
        heard.append(message["type"])

    server = serve(reads, LIMITS)
    with server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 1000\r\n\r\n")
        server.later(11)
        assert answer_of(connection).status == 408
        server.settle()
        assert heard == ["http.disconnect"]


@pytest.mark.parametrize(("files", "connections"), [(1024, 512), (10, 8), (100_000, 1000), (-1, 1000)])
def test_connections_leave_files_for_the_rest_of_the_process(monkeypatch, files, connections):
    monkeypatch.setattr(resource, "getrlimit", lambda what: (files, files))
    assert limits_here().connections == connections
