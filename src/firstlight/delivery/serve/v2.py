"""The Open Inference Protocol, version 2: tensors in, tensors out, as other model servers speak it.

The input is `images`, uint8 `[N, H, W, C]` of the network's size; outputs are float32: `probabilities`, `logits`,
`features`, and `strangeness` if the model has it.
"""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from starlette.requests import Request

from firstlight.delivery.serve.replies import error_reply, unless_gone
from firstlight.delivery.serve.service import Service
from firstlight.delivery.serve.tensors import LENGTH, answer_tensors, read_tensors
from firstlight.delivery.serve.uploads import UnreadableError


def v2_router(service: Service) -> APIRouter:
    """Return the routes of the protocol."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
    _add_server(router, service)
    _add_model(router, service)
    return router


def _add_server(router: APIRouter, service: Service) -> None:
    @router.get("", summary="About the server")
    async def server() -> Response:
        return JSONResponse({"name": "firstlight", "version": "2", "extensions": ["binary_tensor_data"]})

    @router.get("/health/live", summary="Whether the server is running")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @router.get("/health/ready", summary="Whether the server is ready for requests")
    async def ready() -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)


def _add_model(router: APIRouter, service: Service) -> None:
    @router.get("/models/{name}", summary="The inputs and outputs of the model")
    async def metadata(name: str) -> Response:
        return JSONResponse(_tensors_of(service)) if name == service.name else _no_model()

    @router.get("/models/{name}/ready", summary="Whether the model is ready for requests")
    async def model_ready(name: str) -> Response:
        if name != service.name:
            return _no_model()
        return JSONResponse({"name": name, "ready": service.ready}, 200 if service.ready else 503)

    @router.post("/models/{name}/infer", summary="Run the model on images of its size")
    async def infer(name: str, request: Request) -> Response:
        if name != service.name:
            return _no_model()
        service.require_room()
        channels, height, width = service.model.input_size
        asked, images = read_tensors(await request.body(), request.headers.get(LENGTH), (height, width, channels))
        found = await unless_gone(request, service.infer(images))
        try:
            body, length = answer_tensors(service.name, asked, found)
        except UnreadableError as error:
            return error_reply(error.status, error.reason)
        if length is None:
            return Response(body, media_type="application/json")
        return Response(body, headers={LENGTH: str(length)}, media_type="application/octet-stream")


def _tensors_of(service: Service) -> dict[str, Any]:
    channels, height, width = service.model.input_size
    sizes = {"probabilities": len(service.model.classes), "logits": len(service.model.classes)}
    outputs = [
        {"name": output, "datatype": "FP32", "shape": [-1, size]}
        for output, size in (sizes | {"features": service.model.network.num_features}).items()
    ]
    if service.has_strangeness:
        outputs.append({"name": "strangeness", "datatype": "FP32", "shape": [-1]})
    inputs = [{"name": "images", "datatype": "UINT8", "shape": [-1, height, width, channels]}]
    return {"name": service.name, "versions": ["1"], "platform": "firstlight", "inputs": inputs, "outputs": outputs}


def _no_model() -> Response:
    return error_reply(404, "there is no such model here; GET /model gives its name")
