"""Closing a connection so that the client can read why, even if it is still sending."""

import asyncio
from collections.abc import Callable
from typing import Any

from firstlight.delivery.serve.guard.limits import Limits


class LingeringTransport:
    """A transport whose `close` never cuts off an answer, and never waits for a client either.

    A socket that is closed while unread data arrives resets the connection, and the client may lose the answer. So
    when the client `is_sending`, only our side is closed, and what still arrives is thrown away, for `linger_seconds`
    and up to `linger_bytes`. In any case, the connection ends `send_seconds` after it was closed, read or not.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        is_sending: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._limits = limits
        self._is_sending = is_sending
        self._end: asyncio.TimerHandle | None = None
        self._thrown_away = 0
        self.lingers = False
        self.was_paused = False  # reading, since whoever asks has set this to False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether no more is written."""
        return self.lingers or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send this, unless our side is closed."""
        if not self.lingers:
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Read no more for now."""
        self.was_paused = True
        self._transport.pause_reading()

    def close(self) -> None:
        """Close our side once all is written, and the connection soon after."""
        if self.is_closing():
            return
        if self._is_sending() and self._transport.can_write_eof():
            self.lingers = True
            self._transport.write_eof()
            self._transport.resume_reading()
            self._end_in(self._limits.linger_seconds)
        else:
            self.close_now()

    def close_now(self) -> None:
        """Close the connection once all is written."""
        if not self.is_closing():
            self._transport.close()
            self._end_in(self._limits.send_seconds)

    def throw_away(self, size: int) -> None:
        """Count what arrives after the end; past the limit, read no more of it."""
        self._thrown_away += size
        if self._thrown_away > self._limits.linger_bytes:
            self._transport.pause_reading()

    def ended(self) -> None:
        """Stop the clock: the connection is gone."""
        if self._end is not None:
            self._end.cancel()

    def _end_in(self, seconds: float) -> None:
        self.ended()
        self._end = self._loop.call_later(seconds, self._transport.abort)
