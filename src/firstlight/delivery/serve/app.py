"""The application: what each address answers."""

import json
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import Request

from firstlight.delivery.serve.docs import docs_page
from firstlight.delivery.serve.metrics import Measure
from firstlight.delivery.serve.pages import page_router
from firstlight.delivery.serve.replies import answer_errors, error_reply, unless_gone
from firstlight.delivery.serve.service import Service
from firstlight.delivery.serve.uploads import read_uploads
from firstlight.delivery.serve.v2 import v2_router
from firstlight.delivery.share.card import card_of
from firstlight.inference.prediction import json_list

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
PREDICT = (
    "Send pictures as files of a form (multipart/form-data), or one picture as the body. The answer is a list with one "
    "row per picture, as the command `predict` prints it in JSON; a picture that cannot be used has an error."
)
UPLOADS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "One row per picture."},
    400: {"description": "There are no pictures in the request; the error says what to send."},
    413: {"description": "The request is too large."},
    422: {"description": "No picture can be used; the rows say why."},
    503: {"description": "Too many pictures are waiting; Retry-After says when to come back."},
}


def make_app(service: Service) -> FastAPI:
    """Return the application that serves a model."""
    app = FastAPI(
        title="firstlight", version=version("firstlight"), docs_url=None, redoc_url=None, redirect_slashes=False
    )
    answer_errors(app)
    card = card_of(service.model).to_json() | {"name": service.name}

    @app.post("/predict", summary="Classify pictures", description=PREDICT, openapi_extra=UPLOADS, responses=ANSWERS)
    async def predict(request: Request) -> Response:
        service.require_room()
        uploads = await read_uploads(request)
        predictions = await unless_gone(request, service.predict(uploads))
        status = 422 if all(one.error is not None for one in predictions) else 200
        return Response("".join(json_list(predictions)), status, media_type="application/json")

    @app.post(
        "/explain", summary="Where in a picture the model finds evidence for a class, as a PNG", openapi_extra=UPLOADS
    )
    async def explain(request: Request, label: str | None = None) -> Response:
        uploads = await read_uploads(request)
        if len(uploads) > 1:
            return error_reply(400, "a heatmap is drawn for one picture; send only one")
        if label is not None and label not in service.model.classes:
            return error_reply(422, "the model has no such class; GET /model lists its classes")
        drawn = await service.explain(uploads[0], label)
        return error_reply(422, drawn) if isinstance(drawn, str) else Response(drawn, media_type="image/png")

    @app.get("/health/live", summary="Whether the server is running")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @app.get("/health/ready", summary="Whether the server is ready for requests")
    async def ready() -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/model", summary="What is known about the model")
    async def model() -> Response:
        return Response(json.dumps(card), media_type="application/json")  # in ASCII, which names of any kind survive

    @app.get("/metrics", summary="Counts for Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.text(service.waiting), media_type=PROMETHEUS)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page(app.openapi()))

    app.include_router(v2_router(service))
    app.include_router(page_router())
    app.add_middleware(Measure, metrics=service.metrics)
    return app
