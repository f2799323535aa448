"""An application with all its guards around it."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from firstlight.delivery.serve.guard.body import LimitBody
from firstlight.delivery.serve.guard.headers import SecurityHeaders
from firstlight.delivery.serve.guard.hosts import CheckHost
from firstlight.delivery.serve.guard.limits import Limits
from firstlight.delivery.serve.guard.mistakes import HideMistakes
from firstlight.delivery.serve.guard.tokens import OPEN_PATHS, RequireToken

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def guarded(
    app: "ASGIApp",
    *,
    token: str | None = None,
    allow_hosts: Collection[str] = (),
    any_address: bool = False,
    open_paths: Collection[str] = (),
    limits: Limits | None = None,
) -> "ASGIApp":
    """Return the application behind the checks of host, origin, token and body, in this order.

    Args:
        app: the application, which then reads no request that fails one of them.
        token: what requests have to carry, if anything.
        allow_hosts: names of this server besides those of the loopback.
        any_address: whether every IP address is accepted as host.
        open_paths: what is answered without the token, besides `OPEN_PATHS`.
        limits: of bodies.
    """
    app = LimitBody(app, limits)
    if token is not None:
        app = RequireToken(app, token, OPEN_PATHS.union(open_paths))
    return SecurityHeaders(HideMistakes(CheckHost(app, allow_hosts, any_address=any_address)))
