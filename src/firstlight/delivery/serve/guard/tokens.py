"""The token: the password that a request carries in its header, never in its URL."""

import hmac
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from firstlight.delivery.serve.guard.refusal import refuse
from firstlight.errors import UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_VARIABLE = "FIRSTLIGHT_TOKEN"  # noqa: S105  # the name of a variable
SHORTEST = 16

OPEN_PATHS = frozenset({"/health/live"})
"""What is answered without the token: whether the server runs."""

HOW_TO_MAKE_ONE = "openssl rand -hex 16 makes one"


def check_token(token: str) -> str:
    """Return the token; raise a `UserError`, which does not repeat it, if it is short or cannot be in a header."""
    if len(token) < SHORTEST:
        raise UserError(f"the token is too short to be safe: use at least {SHORTEST} characters; {HOW_TO_MAKE_ONE}")
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token):
        raise UserError(f"the token has characters that a header cannot carry; {HOW_TO_MAKE_ONE}")
    return token


class RequireToken:
    """Refuse requests without `Authorization: Bearer TOKEN`.

    Args:
        app: what answers the others.
        token: at least 16 characters.
        open_paths: paths whose GET and HEAD are answered without it, such as those of the page that asks for it.
    """

    def __init__(self, app: "ASGIApp", token: str, open_paths: Collection[str] = OPEN_PATHS) -> None:
        self.app = app
        self._token = token.encode()
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request, as ASGI defines."""
        if scope["type"] != "http" or self._is_open(scope) or self._has_token(scope):
            return await self.app(scope, receive, send)
        return await refuse(
            send,
            401,
            "the token is missing or wrong; send that of the server in the header Authorization: Bearer TOKEN",
            (b"www-authenticate", b'Bearer realm="firstlight"'),
        )

    def _is_open(self, scope: "Scope") -> bool:
        return scope["method"] in {"GET", "HEAD"} and scope["path"] in self._open_paths

    def _has_token(self, scope: "Scope") -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)
