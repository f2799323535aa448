"""A running server under uploads of every size, slow clients and strange hosts; and addresses where paths belong."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.commands import Ran
from hostile_parts.place import Place

MOST_SECONDS = 1.0  # until a refusal, or an answer about health beside slow clients; the machine may be busy
START_SECONDS = 120.0
SLOW = 100  # connections that send a byte a second
LARGE = (2**26 + 1, 10**8, 300 * 10**6, 2**31, 2**32, 2**40, 2**63, 10**30)  # bytes; the limit is 64 MiB
STRANGE = ("-1", "x", "", "1e9", "0x10", "+1", "1, 2", "\u0661")
HOSTS = (
    {"Host": "evil.example"}, {"Host": "localhost.evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": ""},
    {"Host": "localhost@evil.example"}, {"Host": "127.0.0.1:1:2"}, {"Host": "169.254.169.254"}, {"Host": "0.0.0.0"},
    {"Host": "[::ffff:6.6.6.6]"}, {"Host": "http://localhost"},
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:1"},
    {"Origin": "https://127.0.0.1"}, {"Sec-Fetch-Site": "cross-site", "Origin": "http://a.example"},
)  # fmt: skip
ADDRESSES = (
    "http://127.0.0.1:{port}/x.png", "https://127.0.0.1:{port}/x.png", "http://localhost:{port}/set.zip",
    "http://169.254.169.254/latest/meta-data", "ftp://127.0.0.1:{port}/x.png", "file:///etc/passwd",
    "file://localhost/etc/passwd", "data:image/png;base64,AAAA", "s3://bucket/x.png", "gs://bucket/x.png",
    "//127.0.0.1/x.png", "\\\\127.0.0.1\\x.png", "http:/127.0.0.1:{port}", "HTTP://127.0.0.1:{port}/",
    "http://[::1]:{port}/x.png", "http://0x7f000001:{port}/", "http://2130706433:{port}/", "gopher://127.0.0.1:{port}/",
    "dict://127.0.0.1:{port}/", "jar:http://127.0.0.1:{port}!/x", "ssh://127.0.0.1/x", "git+https://127.0.0.1/x",
    "http://user:word@127.0.0.1:{port}/", "http://127.0.0.1:{port}/x.csv", "http://127.0.0.1:{port}/x.parquet",
    "http://127.0.0.1:{port}/model.safetensors", "tcp://127.0.0.1:{port}", "unix:///var/run/docker.sock",
    "http://127.0.0.1:{port}/%2e%2e/x.png", "http://127.0.0.1:{port}#/x.png",
)  # fmt: skip


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for addresses, and the rows of a server."""
    many = place.count(len(ADDRESSES))
    yield tried("addresses where paths belong", many, lambda number: addressed(place, ADDRESSES[number]), seconds=120)
    with serving(place) as (host, port):
        sizes = [f"Content-Length: {size}" for size in (*LARGE, *STRANGE)] + ["Transfer-Encoding: chunked"] * 4
        many = place.count(len(sizes))
        yield tried("uploads of every size", many, lambda number: uploaded(host, port, sizes[number]))
        many = place.count(len(HOSTS))
        yield tried("hosts and origins of others", many, lambda number: called(host, port, HOSTS[number]))
        from serve_load import slow_sockets

        with slow_sockets(f"http://{host}:{port}", SLOW):
            time.sleep(2)
            yield tried("health beside slow clients", place.count(20), lambda _number: healthy(host, port))


@contextmanager
def serving(place: Place) -> Iterator[tuple[str, int]]:
    """Serve the model on a free port, and yield where."""
    words = [sys.executable, "-m", "firstlight", "serve", str(place.run), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            end, told = time.monotonic() + START_SECONDS, ""
            assert process.stderr
            while not (found := re.search(r"http://([\w.]+):(\d+)", told)) and time.monotonic() < end:
                told = process.stderr.readline()
            if not found:
                raise SystemExit("the server did not start")
            yield found[1], int(found[2])
        finally:
            process.terminate()


def asked(host: str, port: int, request: bytes, seconds: float = 20.0) -> tuple[int, float]:
    """Return the status of an answer, 0 if there was none, and the seconds until it came."""
    started, answer = time.perf_counter(), b""
    with socket.create_connection((host, port), timeout=seconds) as connection:
        connection.sendall(request)
        with suppress(OSError):
            while b"\r\n" not in answer and (part := connection.recv(4096)):
                answer += part
    found = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return int(found[1]) if found else 0, time.perf_counter() - started


def uploaded(host: str, port: int, size: str) -> Found:
    """Announce a body that is too large or has no possible size; it is refused at once, and others are answered."""
    head = f"POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: image/png\r\n{size}\r\n\r\n"
    body = b"ffffffffffffffff1\r\n" if "chunked" in size else b""
    status, seconds = asked(host, port, head.encode() + body)
    if not 400 <= status < 500:
        return Found(f"{size}: status {status}")
    if seconds > MOST_SECONDS:
        return Found(f"{size}: refused after {seconds:.1f} s")
    return healthy(host, port)


def called(host: str, port: int, names: dict[str, str]) -> Found:
    """Call the server as a page of somebody else would; it is refused."""
    header = {"Host": f"{host}:{port}", "Content-Type": "image/png", "Content-Length": "4"} | names
    lines = "".join(f"{name}: {value}\r\n" for name, value in header.items())
    status, _ = asked(host, port, f"POST /predict HTTP/1.1\r\n{lines}\r\nabcd".encode())
    return Found("" if status in (400, 403, 421) else f"{names}: status {status}")


def healthy(host: str, port: int) -> Found:
    """Return whether the server says soon that it lives."""
    status, seconds = asked(host, port, f"GET /health/live HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return Found("" if status == 200 and seconds < MOST_SECONDS else f"health: status {status} after {seconds:.1f} s")


def addressed(place: Place, address: str) -> Found:
    """Give an address to every verb that takes a path; none of them connects to anything, or asks for a name."""
    folder, address = place.fresh("addresses"), address.format(port=9)
    (folder / "list.csv").write_text(f"image,label\n{address},a\n{address}?,b\n")
    with connections() as made:
        for words in (
            ["check", address, "--json"],
            ["check", folder / "list.csv", "--json"],
            ["predict", place.run, address, "--json"],
            ["predict", address, next(place.pictures.rglob("*.png")), "--json"],
            ["train", address, "--out", folder / "run", "--json"],
            ["train", place.pictures, "--model=mlp", "--weights", address, "--out", folder / "run", "--json"],
        ):
            ran = Ran(*words)
            if ran.fault or made or "root:" in ran.out + ran.err:
                return Found(ran.fault or f"{words[0]} {address}: it connected to {made or 'a file'}")
    return Found()


@contextmanager
def connections() -> Iterator[list[object]]:
    """Yield a list of all that is connected to, and of all names that are looked up, which then fail."""
    made: list[object] = []
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(found: object) -> None:
        made.append(found)
        raise ConnectionRefusedError(111, "nothing may connect")

    def guarded(self: socket.socket, address: Any) -> Any:
        return connect(self, address) if self.family == socket.AF_UNIX else refuse(address)

    try:
        socket.socket.connect = socket.socket.connect_ex = guarded  # type: ignore[method-assign, assignment]
        socket.getaddrinfo = lambda *words, **_more: refuse(words)  # type: ignore[assignment]
        yield made
    finally:
        socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = look_up
