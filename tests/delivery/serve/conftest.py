"""A server on a real socket, of a model of digits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, NamedTuple

import pytest


class Answer(NamedTuple):
    """A status, headers by their names in lower case, and a body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Server:
    """A running server, and a client for it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.host, self.port = address.removeprefix("http://").rsplit(":", 1)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Return the answer to one request, on a connection of its own."""
        connection = HTTPConnection(self.host, int(self.port), timeout=60)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def send_files(self, *files: tuple[str, bytes], path: str = "/predict") -> Answer:
        """Return the answer to a form with these files, as a browser sends them."""
        return self.ask("POST", path, form(*files), content_type="multipart/form-data; boundary=XYZ")


def form(*files: tuple[str, bytes]) -> bytes:
    """Return the body of a form with files, with the boundary XYZ."""
    parts = [
        f'--XYZ\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'.encode(
            "utf-8", "surrogateescape"
        )
        + b"Content-Type: application/octet-stream\r\n\r\n"
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + b"--XYZ--\r\n"


@contextmanager
def running(service: Any, token: str | None = None) -> Iterator[Server]:
    """Serve on a free port of the loopback, in a thread; at the end requests are finished, and the service closed."""
    from firstlight.delivery.serve.app import make_app
    from firstlight.delivery.serve.binding import bind, url_of
    from firstlight.delivery.serve.guard.guarded import guarded
    from firstlight.delivery.serve.pages import PUBLIC
    from firstlight.delivery.serve.server import make_server

    ready = threading.Event()
    sockets = bind("127.0.0.1", 0, has_token=False)
    app = guarded(make_app(service), token=token, open_paths=PUBLIC)
    server = make_server(app, when_ready=ready.set)
    thread = threading.Thread(target=server.run, args=(sockets,), daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        yield Server(url_of(sockets[0]))
    finally:
        server.should_exit = True
        thread.join(30)
        service.close()


@pytest.fixture(scope="session")
def server(digit_run) -> Iterator[Server]:
    """A server of `digit_run`."""
    from firstlight.delivery.serve.service import Service

    with running(Service(digit_run.model, name="digits-1", workers=2)) as found:
        yield found


@pytest.fixture(name="running", scope="session")
def running_fixture() -> Any:
    """The function `running`, for modules with services of their own."""
    return running
