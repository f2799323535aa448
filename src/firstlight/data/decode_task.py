"""Decode one image file in another process: the function that a `KillablePool` runs, and the form of its answer.

It imports no torch, so that a process for it starts fast and stays small.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np

from firstlight.data.cues import read_header
from firstlight.data.images import DecodedImage, decode, image_size
from firstlight.errors import ImageError
from firstlight.white import White

SIZE, HEADER = b"size", b"header"  # what is asked for instead of an image: `images.image_size`, `cues.read_header`

Block = bytes | bytearray | memoryview


def decode_task(choices: bytes, data: bytes) -> Sequence[Block]:
    """Return what was asked for as JSON and, of an image, its pixels; or one block with the reason why there is none.

    Args:
        choices: `SIZE`, `HEADER`, or those of `images.decode` as `choices_of` writes them.
        data: the file's bytes.
    """
    asked = bytes(choices)
    try:
        if asked == SIZE:
            return [json.dumps(image_size(bytes(data))).encode("ascii"), b""]
        if asked == HEADER:
            return [json.dumps(read_header(bytes(data))).encode("ascii"), b""]
        chosen = json.loads(asked)
        if chosen["input_size"] is not None:
            chosen["input_size"] = tuple(chosen["input_size"])
        image = decode(bytes(data), **chosen | {"white": White(*chosen["white"])})
    except ImageError as reason:
        return [str(reason).encode("utf-8", "surrogatepass")]
    facts = {
        "shape": image.pixels.shape,
        "mode": image.mode,
        "notes": image.notes,
        "size": image.size,
        "brightest": astuple(image.brightest),
        "values": image.values.hex(),
    }
    return [json.dumps(facts).encode("ascii"), np.ascontiguousarray(image.pixels).data]


def choices_of(
    *, name: str, max_pixels: int, input_size: tuple[int, int, int] | None, resize: str, white: White
) -> bytes:
    """Return the choices of `images.decode` as `decode_task` reads them."""
    chosen = {"name": name, "max_pixels": max_pixels, "input_size": input_size, "resize": resize}
    return json.dumps(chosen | {"white": astuple(white)}).encode("ascii")


def image_of(answer: Sequence[memoryview]) -> DecodedImage:
    """Return the image that `decode_task` has answered; its pixels are not copied.

    Raises:
        ImageError: if the answer is the reason why there is none.
        ValueError, LookupError, TypeError: if it is no answer, because the process has been taken over.
    """
    facts = facts_of(answer)
    height, width, channels = facts["shape"]
    if channels not in (1, 3) or not height or not width:
        raise ValueError(f"pixels of shape {height} x {width} x {channels}")
    full_height, full_width = map(int, facts["size"])
    return DecodedImage(
        pixels=np.frombuffer(answer[1], np.uint8).reshape(height, width, channels),
        mode=str(facts["mode"]),
        notes=tuple(map(str, facts["notes"])),
        size=(full_height, full_width),
        brightest=White(*facts["brightest"]),
        values=bytes.fromhex(facts["values"]),
    )


def facts_of(answer: Sequence[memoryview]) -> Any:
    """Return the size or the header that `decode_task` has answered; raises as `image_of`."""
    if len(answer) == 1:
        raise ImageError(str(answer[0], "utf-8", "surrogatepass"))
    return json.loads(bytes(answer[0]))
