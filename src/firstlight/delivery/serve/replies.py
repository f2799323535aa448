"""What the server answers when it does not do what was asked, always as `{"error": reason}`."""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import Request

from firstlight.delivery.serve.guard.mistakes import MISTAKE
from firstlight.delivery.serve.service import OverloadedError
from firstlight.delivery.serve.uploads import ClientDisconnect, UnreadableError

Found = TypeVar("Found")
CLIENT_CLOSED = 499  # nobody reads this answer
NOTHING_HERE = "there is nothing at this address; see /docs"


def error_reply(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return `{"error": reason}`."""
    return Response(json.dumps({"error": reason}) + "\n", status, headers, media_type="application/json")


def answer_errors(app: FastAPI) -> None:
    """Let an application answer in one form all that it does not do, including its own mistakes."""
    app.add_exception_handler(UnreadableError, _unreadable)
    app.add_exception_handler(OverloadedError, _overloaded)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(HTTPException, _not_here)
    app.add_exception_handler(Exception, _mistake)


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


async def _not_here(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = NOTHING_HERE if error.status_code == HTTPStatus.NOT_FOUND else error.detail
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and error.headers:
        reason = f"this address takes {error.headers['Allow']} requests only"
    return error_reply(error.status_code, reason, error.headers)


async def _mistake(_: Request, error: Exception) -> Response:
    return error_reply(500, MISTAKE)  # the error itself goes on to the log


async def unless_gone(request: Request, work: Coroutine[Any, Any, Found]) -> Found:
    """Return the result of work, and cancel it if the client goes meanwhile; the body has been read.

    Raises:
        ClientDisconnect: if it has gone.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    gone.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            raise ClientDisconnect from None
        task.cancel()
        raise
    finally:
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
