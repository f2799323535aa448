"""Mistakes of ours: the client is told that there was one, and the log tells which."""

import asyncio
import logging
from typing import TYPE_CHECKING

from firstlight.delivery.serve.guard.refusal import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MISTAKE = "something went wrong in the server; its log has the details"
LOG = logging.getLogger("firstlight.serve")


class HideMistakes:
    """Answer 500 where an application fails, and 503 where it is stopped, without anything from within it."""

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request, as ASGI defines."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def watch(message: "Message") -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except asyncio.CancelledError:  # the server has waited for this request for long enough
            if started:
                raise
            await refuse(send, 503, "the server is stopping", (b"retry-after", b"5"))
        except Exception as error:
            LOG.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if not started:
                await refuse(send, 500, MISTAKE)
        return None
