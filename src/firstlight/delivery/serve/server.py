"""uvicorn as we run it: careful with clients, and ended by a signal once what it has accepted is answered."""

import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, cast

import uvicorn

from firstlight.delivery.serve.binding import BACKLOG
from firstlight.delivery.serve.guard.limits import limits_here
from firstlight.delivery.serve.guard.protocol import CarefulProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

DRAIN_SECONDS = 10


def make_server(
    app: "ASGIApp", *, when_ready: Callable[[], None], when_ending: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """Return a server whose `run(sockets)` answers requests until SIGTERM or Ctrl-C.

    Then what was accepted is answered, for at most `DRAIN_SECONDS`, and nothing else is; a second signal ends it at
    once.

    Args:
        app: the application, with its guards.
        when_ready: called once requests are answered.
        when_ending: called on the first signal.
    """
    config = uvicorn.Config(
        app,
        http=cast(type[CarefulProtocol], partial(CarefulProtocol, limits=limits_here())),  # called as a class is
        loop="asyncio",
        ws="none",
        lifespan="off",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    return _Server(config, when_ready, when_ending)


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it answers, and for which a signal is an ordinary end."""

    def __init__(self, config: uvicorn.Config, when_ready: Callable[[], None], when_ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready
        self._when_ending = when_ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # by a second signal
        self.should_exit = True
        self._when_ending()
