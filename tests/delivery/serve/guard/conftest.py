"""Applications to be guarded, called directly or served on a socket, by a loop whose clock tests can move on."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from typing import NamedTuple

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from firstlight.delivery.serve.guard.protocol import CarefulProtocol


class Answer(NamedTuple):
    """A response: its status, its header with names in lower case, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """What a refusal says; fails unless the body is one."""
        found = json.loads(self.body)
        assert list(found) == ["error"]
        assert self.headers["content-type"] == "application/json"
        assert "\n" not in found["error"]
        return found["error"]


class Counting:
    """An application that reads the whole body, answers its length, and remembers what it was asked."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.read = 0

    async def __call__(self, scope, receive, send) -> None:
        assert scope["type"] == "http"
        self.paths.append(scope["path"])
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            self.read = max(self.read, size)
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})


async def _call(app, method, path, headers, chunks) -> Answer:
    names = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": names, "query_string": b"", "scheme": "http"}
    left, sent = list(chunks), []

    async def receive():
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    assert len(found) == len(start["headers"]), "a header is there twice"
    return Answer(start["status"], found, b"".join(message["body"] for message in bodies))


@pytest.fixture
def call():
    """Call an application: `call(app, method, path, headers, chunks)`, the header as pairs, the body as its parts."""

    def ask(app, method="GET", path="/", headers=(("Host", "localhost"),), chunks=(b"",)) -> Answer:
        return asyncio.run(_call(app, method, path, headers, chunks))

    return ask


class _Loop(asyncio.SelectorEventLoop):
    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Server:
    """An application that is served on a port of the loopback, one thread, `loop` its loop."""

    def __init__(self, app, limits) -> None:
        self.loop = _Loop()
        self.state = ServerState()
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off", proxy_headers=False)
        config.load()

        def protocol():
            if limits is None:  # uvicorn's own, as a control
                return HttpToolsProtocol(config, self.state, {}, self.loop)
            return CarefulProtocol(config, self.state, {}, self.loop, limits=limits)

        listening = self.loop.create_server(protocol, "127.0.0.1", 0, backlog=1024)
        self._server = self.loop.run_until_complete(listening)
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def connect(self) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, data: bytes) -> Answer:
        """Send this on a new connection, and return the first response."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_answer(connection)

    def settle(self) -> None:
        """Wait until the loop has handled all that has arrived."""
        for _ in range(10):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result()

    def later(self, seconds: float) -> None:
        """Let time pass for the server."""
        self.settle()
        self.loop.call_soon_threadsafe(self._advance, seconds)
        self.settle()

    def _advance(self, seconds: float) -> None:
        self.loop.ahead += seconds

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self.state.connections):
            connection.transport.abort()
        for task in list(self.state.tasks):
            task.cancel()
        await asyncio.gather(*self.state.tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def close(self) -> None:
        """End the thread and everything in it."""
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def read_answer(connection: socket.socket) -> Answer:
    """Return the next response of a connection."""
    response = HTTPResponse(connection)
    response.begin()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, response.read())


@contextmanager
def _serving(app, limits) -> Iterator[Server]:
    server = Server(app, limits)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def serve():
    """Serve an application until the test ends: `serve(app, limits)`; without limits, as uvicorn alone would."""
    with ExitStack() as stack:
        yield lambda app, limits=None: stack.enter_context(_serving(app, limits))


@pytest.fixture
def counting() -> Counting:
    """An application that counts."""
    return Counting()


@pytest.fixture
def answer_of():
    """Return the next response of a connection."""
    return read_answer


def is_closed(connection: socket.socket) -> bool:
    """Wait until the other side says something, and return whether it is that it has closed."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def closed():
    """Wait until the other side says something, and return whether it is that it has closed."""
    return is_closed
