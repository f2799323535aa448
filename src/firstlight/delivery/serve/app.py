"""The application: what each address answers."""

import json
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.requests import Request

from firstlight.delivery.serve.pages import page_router
from firstlight.delivery.serve.replies import answer_errors, error_reply
from firstlight.delivery.serve.service import Service
from firstlight.delivery.serve.uploads import read_uploads
from firstlight.delivery.share.card import card_of
from firstlight.inference.prediction import json_list


def make_app(service: Service) -> FastAPI:
    """Return the application that serves a model."""
    app = FastAPI(
        title="firstlight", version=version("firstlight"), docs_url=None, redoc_url=None, redirect_slashes=False
    )
    answer_errors(app)
    card = card_of(service.model).to_json() | {"name": service.name}

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        predictions = await service.predict(await read_uploads(request))
        status = 422 if all(one.error is not None for one in predictions) else 200
        return Response("".join(json_list(predictions)), status, media_type="application/json")

    @app.post("/explain")
    async def explain(request: Request, label: str | None = None) -> Response:
        uploads = await read_uploads(request)
        if len(uploads) > 1:
            return error_reply(400, "heatmaps are drawn for one picture at a time; send one")
        if label is not None and label not in service.model.classes:
            return error_reply(422, "the model has no such class; GET /model lists those that it has")
        drawn = await service.explain(uploads[0], label)
        return error_reply(422, drawn) if isinstance(drawn, str) else Response(drawn, media_type="image/png")

    @app.get("/health/live")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @app.get("/health/ready")
    async def ready() -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/model")
    async def model() -> Response:
        return Response(json.dumps(card), media_type="application/json")  # in ASCII, which names of any kind survive

    app.include_router(page_router())
    return app
