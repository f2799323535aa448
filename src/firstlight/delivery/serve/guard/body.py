"""Limits on bodies: counted as they arrive, whatever their header claims, and refused at the first byte too many."""

from typing import TYPE_CHECKING

from firstlight.delivery.serve.guard.limits import Limits
from firstlight.delivery.serve.guard.refusal import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LimitBody:
    """Refuse bodies that are too large (413), too many at once (503), or compressed (415).

    A client that leaves while its body is read, or whose body is refused, is no error of the application: what the
    application then raises is dropped.
    """

    def __init__(self, app: "ASGIApp", limits: Limits | None = None) -> None:
        self.app = app
        self.limits = limits or Limits()
        self.held_bytes = 0

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request, as ASGI defines."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        declared, chunked = 0, False
        for name, value in scope["headers"]:
            if name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
                return await refuse(send, 415, "compressed bodies are not read; send the pictures as they are")
            if name == b"content-length":
                declared = int(value) if value.isdigit() and len(value) < 20 else self.limits.body_bytes + 1
            chunked = chunked or name == b"transfer-encoding"
        if declared > self.limits.body_bytes:
            return await refuse(send, 413, self.too_large)
        exchange = _Exchange(self, receive, send, has_body=chunked or declared > 0)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception:
            if not exchange.over:
                raise
        finally:
            self.held_bytes -= exchange.body_bytes

    @property
    def too_large(self) -> str:
        """What a client is told whose body is too large."""
        return f"the request is larger than {_in_words(self.limits.body_bytes)}, the limit of this server"


class _Exchange:
    """One request and its response, with the body counted on its way to the application."""

    def __init__(self, guard: LimitBody, receive: "Receive", send: "Send", *, has_body: bool) -> None:
        self.guard = guard
        self.body_bytes = 0
        self.over = False  # refused, or the client has gone
        self._receive, self._send = receive, send
        self._unread, self._started = has_body, False

    async def receive(self) -> "Message":
        if self.over:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] != "http.request":
            self.over = True
            return message
        size = len(message.get("body", b""))
        self.body_bytes += size
        self.guard.held_bytes += size
        self._unread = message.get("more_body", False)
        if self.body_bytes > self.guard.limits.body_bytes:
            return await self._refuse(413, self.guard.too_large)
        if self.guard.held_bytes > self.guard.limits.bodies_bytes:
            error = "too many uploads at once; try again in a second"
            return await self._refuse(503, error, (b"retry-after", b"1"))
        return message

    async def send(self, message: "Message") -> None:
        if self.over:
            return
        if message["type"] == "http.response.start":
            self._started = True
            if self._unread:  # the rest of the body is not worth reading
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await self._send(message)

    async def _refuse(self, status: int, error: str, *headers: tuple[bytes, bytes]) -> "Message":
        self.over = True
        if not self._started:
            await refuse(self._send, status, error, *headers)
        return {"type": "http.disconnect"}


def _in_words(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB" if size >= 1 << 20 else f"{size:,} bytes"
