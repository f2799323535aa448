"""What the server answers when it does not do what was asked, always as `{"error": reason}`."""

import json
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.requests import Request

from firstlight.delivery.serve.service import OverloadedError
from firstlight.delivery.serve.uploads import ClientDisconnect, UnreadableError

CLIENT_CLOSED = 499  # nobody reads this answer


def error_reply(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return `{"error": reason}`."""
    return Response(json.dumps({"error": reason}) + "\n", status, headers, media_type="application/json")


def answer_errors(app: FastAPI) -> None:
    """Let an application answer requests that cannot be read, and those that are too many."""
    app.add_exception_handler(UnreadableError, _unreadable)
    app.add_exception_handler(OverloadedError, _overloaded)
    app.add_exception_handler(ClientDisconnect, _gone)


async def _unreadable(_: Request, error: Exception) -> Response:
    assert isinstance(error, UnreadableError)
    return error_reply(error.status, error.reason)


async def _overloaded(_: Request, error: Exception) -> Response:
    assert isinstance(error, OverloadedError)
    reason = "too many pictures are waiting; try again in a moment"
    return error_reply(503, reason, {"retry-after": str(error.seconds)})


async def _gone(_: Request, error: Exception) -> Response:
    assert isinstance(error, ClientDisconnect)
    return Response(status_code=CLIENT_CLOSED)
