"""Decode one image file in another process: the function that a `KillablePool` runs, and the form of its answer.

It imports no torch, so that a process for it starts fast and stays small.
"""

import json
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firstlight.data.images import decode
from firstlight.errors import ImageError
from firstlight.white import White

_SHAPE = struct.Struct("<3I")  # height, width, channels

Block = bytes | bytearray | memoryview


def decode_task(choices: bytes, data: bytes) -> Sequence[Block]:
    """Return the shape and the pixels of an image file, or one block with the reason why it cannot be used.

    Args:
        choices: those of `images.decode`, as `choices_of` writes them.
        data: the file's bytes.
    """
    chosen = json.loads(bytes(choices))
    try:
        pixels = decode(
            bytes(data),
            name=chosen["name"],
            max_pixels=chosen["max_pixels"],
            input_size=tuple(chosen["input_size"]),
            resize=chosen["resize"],
            white=White(*chosen["white"]),
        ).pixels
    except ImageError as reason:
        return [str(reason).encode("utf-8", "surrogatepass")]
    return [_SHAPE.pack(*pixels.shape), np.ascontiguousarray(pixels).data]


def choices_of(name: str, max_pixels: int, input_size: tuple[int, int, int], resize: str, white: White) -> bytes:
    """Return the choices of `images.decode` as `decode_task` reads them."""
    return json.dumps(
        {
            "name": name,
            "max_pixels": max_pixels,
            "input_size": input_size,
            "resize": resize,
            "white": [white.integers, white.floats],
        }
    ).encode("ascii")


def pixels_or_reason(answer: Sequence[memoryview]) -> NDArray[np.uint8] | ImageError:
    """Return the pixels, uint8 `[H, W, C]`, that `decode_task` has answered; or the reason why there are none.

    The pixels are not copied.

    Raises:
        ValueError: if the answer is not one that it gives, because the process has been taken over.
    """
    if len(answer) == 1:
        return ImageError(str(answer[0], "utf-8", "surrogatepass"))
    shape, pixels = answer
    height, width, channels = _SHAPE.unpack(shape)
    if channels not in (1, 3) or not height or not width:
        raise ValueError(f"pixels of shape {height} x {width} x {channels}")
    return np.frombuffer(pixels, np.uint8).reshape(height, width, channels)
