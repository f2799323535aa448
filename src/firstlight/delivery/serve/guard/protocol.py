"""HTTP for clients that may be slow, broken, or hostile: uvicorn's protocol, with the deadlines and limits it lacks."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NoReturn, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from firstlight.delivery.serve.guard.limits import Limits
from firstlight.delivery.serve.guard.linger import LingeringTransport
from firstlight.delivery.serve.guard.refusal import refusal_bytes

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_NOT_HTTP = (400, "this is not a valid HTTP/1.1 request")
_TOO_MANY_CHUNKS = (400, "the body comes in chunks that are too small")
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_CHUNKS_BEFORE_COUNTING = 1000
_LEAST_MEAN_CHUNK = 64  # bytes


class _Stage(Enum):
    """What the client sends next, or is in the middle of."""

    NOTHING = auto()
    HEADER = auto()
    BODY = auto()


class _Refused(Exception):  # noqa: N818  # no error of ours; it stops the parser
    """This request is not taken."""


class CarefulProtocol(HttpToolsProtocol):
    """One connection of a client that is given `limits`, and no more.

    Header and body have deadlines, the time does not run while we do not read; a header has a limit of size; a client
    that does not read its answer is dropped; and where there are too many connections, the one that has waited longest
    for its client makes room.
    """

    def __init__(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = httptools.HttpRequestParser(self)  # without the leniency that uvicorn asks for
        self.limits = limits or Limits()
        self.timeout_keep_alive = self.limits.idle_seconds  # type: ignore[assignment]  # seconds need not be whole
        self._stage = _Stage.HEADER
        self._timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self._why: tuple[int, str] | None = None
        self._takes_no_more = False  # the request that was begun last is the last one
        self._hears_no_more = False  # whatever still comes is thrown away
        self._is_dropped = False
        self._requests = 0
        self._header_bytes = 0
        self._body_bytes = 0
        self._wire_bytes = 0  # of the body, with its framing
        self._chunks = 0
        self._body_end = 0.0
        self._window_bytes = 0

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first header."""
        self._lingering = LingeringTransport(transport, self.loop, self.limits, self._is_sending)
        self._since = self.loop.time()
        super().connection_made(cast(asyncio.Transport, self._lingering))
        self._set_timer(self.limits.header_seconds, self._header_is_late)
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._stop_timer()
        self._stop_send_timer()
        self._unset_keepalive_if_required()
        self._lingering.ended()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sends, up to the limits."""
        if self._lingering.lingers or self._hears_no_more:
            self._lingering.throw_away(len(data))
            return
        if self._stage is _Stage.HEADER:
            self._header_bytes += len(data)
        elif self._stage is _Stage.BODY:
            self._wire_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # to a protocol that we do not speak; the request itself is answered
            self._hears_no_more = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(*(self._why or _NOT_HTTP))
        else:
            self._check_sizes()
        self._start_clock()

    def _check_sizes(self) -> None:
        if self._stage is _Stage.HEADER and self._header_bytes > self.limits.header_bytes:
            self._refuse(431, self._header_too_large)
        elif self._stage is _Stage.BODY and self._wire_bytes > 2 * self._body_bytes + (64 << 10):
            self._refuse(*_TOO_MANY_CHUNKS)

    def _start_clock(self) -> None:
        if self._timer is not None or self.transport.is_closing():
            return
        if self._stage is _Stage.HEADER:
            self._set_timer(self.limits.header_seconds, self._header_is_late)
        elif self._stage is _Stage.BODY:
            self._body_end = self.loop.time() + self.limits.body_seconds
            self._begin_window()

    def pause_writing(self) -> None:
        """Give the client some time to read what was sent."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.limits.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        super().resume_writing()
        self._stop_send_timer()

    def shutdown(self) -> None:
        """Close a connection that waits for its client; close others after the answer."""
        if self._waits_for_client():
            self._lingering.close_now()
        else:
            super().shutdown()

    # What the parser finds

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._takes_no_more:
            raise _Refused
        self._unset_keepalive_if_required()
        self._stage = _Stage.HEADER
        self._header_bytes = self._body_bytes = self._wire_bytes = self._chunks = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one line of the header; what follows a chunked body is none, and is dropped."""
        if self._stage is _Stage.BODY:
            return
        if len(self.headers) >= self.limits.header_count:
            self._refuse_in_parser(431, f"the header has more than {self.limits.header_count} lines")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the header, and hand the request to the application."""
        version = self.parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            self._refuse_in_parser(505, "this server speaks HTTP/1.1")
        if sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url) > self.limits.header_bytes:
            self._refuse_in_parser(431, self._header_too_large)
        if not self.url.startswith(b"/"):  # a whole URL, as for a proxy, may name another host than the header
            self._refuse_in_parser(400, "the request has to name a path, such as /predict")
        framing = [(name, value.lower()) for name, value in self.headers if name in _FRAMING]
        if len(framing) > 1 or (framing and framing[0][0] == b"transfer-encoding" and framing[0][1] != b"chunked"):
            self._refuse_in_parser(400, "the length of the body is not clear")
        if framing and framing[0][0] == b"transfer-encoding" and version == "1.0":
            self._refuse_in_parser(400, "the length of the body is not clear")
        self._stop_timer()
        self._stage = _Stage.BODY
        super().on_headers_complete()
        if not self.pipeline:
            self._running = self.cycle
        self._requests += 1
        if self._requests >= self.limits.requests_per_connection or len(self.pipeline) >= self.limits.pipelined:
            self.cycle.keep_alive = False
            self._takes_no_more = True

    def on_chunk_header(self) -> None:
        """Count the chunks: many tiny ones cost more than they bring."""
        self._chunks += 1
        if self._chunks > _CHUNKS_BEFORE_COUNTING and self._body_bytes < self._chunks * _LEAST_MEAN_CHUNK:
            self._refuse_in_parser(*_TOO_MANY_CHUNKS)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(body)
        self._window_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; its answer may still be under way."""
        self._stop_timer()
        self._stage = _Stage.NOTHING
        super().on_message_complete()

    # What the application answers

    def on_response_complete(self) -> None:
        """Go on to the next request, unless the rest of this one is still to come: it is not worth reading."""
        if self._stage is _Stage.BODY and not self.pipeline:
            self.transport.close()
        self._running = self.pipeline[-1][0] if self.pipeline else None
        self._since = self.loop.time()
        super().on_response_complete()
        if self._stage is not _Stage.NOTHING:  # a header that has begun has its own deadline
            self._unset_keepalive_if_required()

    # Deadlines

    def _header_is_late(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # we do not read: no fault of the client
            self._set_timer(self.limits.header_seconds, self._header_is_late)
        elif self._header_bytes == 0 and self._requests == 0:
            self.transport.abort()
        else:
            self._refuse(408, "the header took too long to arrive")

    def _begin_window(self) -> None:
        self._window_bytes = 0
        self._lingering.was_paused = self.flow.read_paused
        left = self._body_end - self.loop.time()
        self._set_timer(min(self.limits.body_window_seconds, left) if left > 0 else 1.0, self._window_is_over)

    def _window_is_over(self) -> None:
        self._timer = None
        is_stuck = self._window_bytes < self.limits.body_window_bytes and not self._lingering.was_paused
        is_late = self.loop.time() >= self._body_end and not self.flow.read_paused
        if is_stuck or is_late:
            self._refuse(408, "the body took too long to arrive")
        else:
            self._begin_window()

    def _set_timer(self, seconds: float, act: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(seconds, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    # Refusals

    @property
    def _header_too_large(self) -> str:
        return f"the header is larger than {self.limits.header_bytes:,} bytes"

    def _is_sending(self) -> bool:
        return self._stage is not _Stage.NOTHING or self._hears_no_more

    def _waits_for_client(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def _refuse_in_parser(self, status: int, error: str) -> NoReturn:
        self._why = status, error
        raise _Refused

    def _refuse(self, status: int, error: str, *headers: tuple[bytes, bytes]) -> None:
        """Answer no more than what was asked before; if that is nothing, say why, and close."""
        self._hears_no_more = True
        self._stop_timer()
        newest = self.cycle
        if newest is not None and not newest.response_complete:
            if not newest.more_body:  # what follows it is refused
                newest.keep_alive = False
                return
            if self.pipeline:  # it is refused itself, and has to wait for its turn: the one before it is the last
                self.pipeline.popleft()
                before = self.pipeline[0][0] if self.pipeline else self._running
                assert before is not None
                before.keep_alive = False
                return
            newest.disconnected = True
            newest.message_event.set()
        if newest is None or newest.response_complete or not newest.response_started:
            self.transport.write(refusal_bytes(status, error, *headers))
        self.transport.close()

    def _make_room(self) -> None:
        """Drop the connection that has waited longest for its client; if all are busy, refuse this one."""
        now = self.loop.time()
        waiting = [
            connection
            for connection in self.connections
            if isinstance(connection, CarefulProtocol) and connection is not self and connection._can_be_dropped(now)
        ]
        if waiting:
            longest = min(waiting, key=lambda connection: connection._since)
            longest._is_dropped = True
            longest.transport.abort()
        else:
            self._refuse(503, "too many connections; try again in a second", (b"retry-after", b"1"))

    def _can_be_dropped(self, now: float) -> bool:
        if self._is_dropped:
            return False
        if self.transport.is_closing() or self._waits_for_client():
            return True
        return self._stage is _Stage.BODY and now > self._since + self.limits.body_window_seconds
