"""Tensors as the Open Inference Protocol sends them: JSON, or bytes after it (its binary tensor extension)."""

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.serve.uploads import MAX_IMAGES, UnreadableError

MAX_JSON_BYTES = 4_000_000  # reading more would hold everybody else up
LENGTH = "inference-header-content-length"


class Tensor(msgspec.Struct):
    """An input or an output."""

    name: str
    shape: list[int] = []
    datatype: str = ""
    parameters: dict[str, Any] = {}
    data: Any = None


class Ask(msgspec.Struct):
    """A request for inference."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Tensor] = []
    parameters: dict[str, Any] = {}


def read_tensors(body: bytes, length: str | None, shape: tuple[int, int, int]) -> tuple[Ask, NDArray[np.uint8]]:
    """Return what a request asks for, and its images, uint8 `[N, H, W, C]`.

    Args:
        body: JSON, and bytes after it if `length` is given.
        length: of the JSON, as the header says it.
        shape: of one image, `(H, W, C)`.

    Raises:
        UnreadableError: if it is none.
    """
    text = _text_of(body, length)
    try:
        asked = msgspec.json.decode(text, type=Ask)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableError(400, f"the request cannot be read: {error}") from None
    if len(asked.inputs) != 1 or asked.inputs[0].name != "images":
        raise UnreadableError(400, "give one input, images")
    given = asked.inputs[0]
    wanted = f"give images as UINT8 [N, {', '.join(map(str, shape))}], N from 1 to {MAX_IMAGES}"
    if given.datatype != "UINT8" or tuple(given.shape[1:]) != shape or not 1 <= given.shape[0] <= MAX_IMAGES:
        raise UnreadableError(400, wanted)
    try:
        size = given.parameters.get("binary_data_size")
        flat = _from_json(given.data) if size is None else _from_bytes(body[len(text) :], size)
        return asked, flat.reshape(given.shape)
    except (ValueError, TypeError, OverflowError):
        count = math.prod(given.shape)
        raise UnreadableError(400, f"images has not {count:,} numbers from 0 to 255; {wanted}") from None


def _text_of(body: bytes, length: str | None) -> bytes:
    if length is not None and not (length.isascii() and length.isdigit() and int(length) <= len(body)):
        raise UnreadableError(400, f"{LENGTH} is no length of a part of the body")
    text = body if length is None else body[: int(length)]
    if len(text) > MAX_JSON_BYTES:
        raise UnreadableError(413, "the JSON is larger than 4 MB; send the tensor as bytes (binary_data_size)")
    return text


def _from_json(data: Any) -> NDArray[np.uint8]:
    values = np.asarray(data)
    if values.dtype.kind != "i" or values.min() < 0 or values.max() > 255:
        raise ValueError
    return values.astype(np.uint8).ravel()


def _from_bytes(data: bytes, size: Any) -> NDArray[np.uint8]:
    if size != len(data):
        raise ValueError
    return np.frombuffer(data, np.uint8)


def answer_tensors(name: str, asked: Ask, found: Mapping[str, NDArray[np.float32]]) -> tuple[bytes, int | None]:
    """Return the body of the answer, and the length of its JSON if bytes follow it.

    Raises:
        UnreadableError: if an output was asked for that there is none of, or a number is not finite.
    """
    names = [one.name for one in asked.outputs] or list(found)
    for output in names:
        if output not in found:
            raise UnreadableError(400, f"there is no such output; choose {', '.join(found)}")
    everything = bool(asked.parameters.get("binary_data_output"))
    if not all(np.isfinite(values).all() for values in found.values()):
        raise UnreadableError(422, "the model gives no finite number for an image")
    is_binary = {one.name: one.parameters.get("binary_data", everything) for one in asked.outputs}
    outputs, blobs = [], []
    for output in names:
        values = found[output]
        about: dict[str, Any] = {"name": output, "datatype": "FP32", "shape": list(values.shape)}
        if is_binary.get(output, everything):
            blobs.append(values.astype("<f4").tobytes())
            about["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            about["data"] = values.ravel().tolist()
        outputs.append(about)
    head: dict[str, Any] = {"model_name": name, "model_version": "1", "outputs": outputs}
    if asked.id is not None:
        head["id"] = asked.id
    text = json.dumps(head).encode()
    return b"".join([text, *blobs]), len(text) if blobs else None
