"""The application: what each address answers."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.requests import Request

from firstlight.delivery.serve.pages import page_router
from firstlight.delivery.serve.service import OverloadedError, Service
from firstlight.delivery.serve.uploads import ClientDisconnect, UnreadableError, read_uploads
from firstlight.delivery.share.card import card_of
from firstlight.inference.prediction import json_list

CLIENT_CLOSED = 499  # nobody reads this answer


def make_app(service: Service) -> FastAPI:
    """Return the application that serves a model."""
    app = FastAPI(title="firstlight", version=version("firstlight"), docs_url=None, redoc_url=None)
    card = card_of(service.model).to_json() | {"name": service.name}

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        try:
            predictions = await service.predict(await read_uploads(request))
        except UnreadableError as error:
            return error_reply(error.status, error.reason)
        except OverloadedError as error:
            reason = "too many pictures are waiting; try again in a moment"
            return error_reply(503, reason, {"retry-after": str(error.seconds)})
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED)
        status = 422 if all(one.error is not None for one in predictions) else 200
        return Response("".join(json_list(predictions)), status, media_type="application/json")

    @app.get("/health/live")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @app.get("/health/ready")
    async def ready() -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/model")
    async def model() -> Response:
        return JSONResponse(card)

    app.include_router(page_router())

    return app


def error_reply(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return `{"error": reason}`."""
    body: dict[str, Any] = {"error": reason}
    return Response(json.dumps(body) + "\n", status, headers, media_type="application/json")
