"""Refusals: short JSON answers that say in plain English why a request is not served."""

import json
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING

from firstlight.delivery.serve.guard.headers import SECURITY_HEADERS

if TYPE_CHECKING:
    from starlette.types import Send

REFUSED: Counter[int] = Counter()
"""How many requests this process has refused, by status."""


async def refuse(send: "Send", status: int, error: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer `{"error": ...}` with this status, and close the connection, since the body may not have been read."""
    REFUSED[status] += 1
    start, body = _answer(error, headers)
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def refusal_bytes(status: int, error: str, *headers: tuple[bytes, bytes]) -> bytes:
    """Return the same answer as bytes of HTTP/1.1, for requests that cannot be passed to any application."""
    REFUSED[status] += 1
    start, body = _answer(error, headers)
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    lines += [name + b": " + value for name, value in (*start, *SECURITY_HEADERS)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _answer(error: str, headers: tuple[tuple[bytes, bytes], ...]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    body = json.dumps({"error": error}).encode() + b"\n"
    start = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *headers,
    ]
    return start, body
