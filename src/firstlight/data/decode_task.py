"""Decode image files in another process: the function that a `KillablePool` runs, and the form of its answer.

It imports no torch, so that a process for it starts fast and stays small.
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from firstlight.data.cues import read_header
from firstlight.data.images import MAX_PIXELS, DecodedImage, decode, image_size
from firstlight.errors import ImageError
from firstlight.white import TYPES_WHITE, White

SIZE, HEADER = b"size", b"header"  # what is asked for instead of an image: `images.image_size`, `cues.read_header`

# Of several files, the answer is about as many as can be decoded within these; then the next ones are asked for again.
ANSWER_SECONDS, ANSWER_BYTES = 0.25, 4 << 20

Block = bytes | bytearray | memoryview


class Choices(NamedTuple):
    """How images are decoded; see `images.decode`."""

    max_pixels: int = MAX_PIXELS
    input_size: tuple[int, int, int] | None = None
    resize: str = "crop"
    white: White = TYPES_WHITE


class File(NamedTuple):
    """An image file: its bytes, its name, and whether its header is asked for as well; see `cues.read_header`."""

    data: bytes
    name: str = ""
    with_header: bool = False


Answer = tuple[DecodedImage | ImageError, dict[str, Any] | None]  # the image or why there is none, and the header


def decode_task(asked: bytes, *files: bytes) -> Sequence[Block]:
    """Return what was asked for of each file as JSON, or the reason why there is none, and then the pixels of images.

    Args:
        asked: `SIZE`, `HEADER`, or choices as `asked_for` writes them.
        files: their bytes. The answer may end before the last one.
    """
    word = bytes(asked)
    chosen = json.loads(word) if word not in (SIZE, HEADER) else {}
    found: list[Any] = []
    pixels: list[memoryview] = []
    until, size = time.process_time() + ANSWER_SECONDS, 0
    for number, file in enumerate(files):
        if found and (size > ANSWER_BYTES or time.process_time() > until):
            break
        data = bytes(file)
        try:
            if word == SIZE:
                found.append({"size": image_size(data)})
            elif word == HEADER:
                found.append({"header": read_header(data)})
            else:
                image = _decoded(data, chosen, number)
                found.append(_facts(image, read_header(data) if chosen["headers"][number] else None))
                pixels.append(np.ascontiguousarray(image.pixels).data)
                size += image.pixels.nbytes
        except ImageError as reason:
            found.append({"reason": str(reason)})
    return [json.dumps(found).encode("ascii"), *pixels]


def _decoded(data: bytes, chosen: dict[str, Any], number: int) -> DecodedImage:
    size = chosen["input_size"]
    return decode(
        data,
        name=chosen["names"][number],
        max_pixels=chosen["max_pixels"],
        input_size=None if size is None else tuple(size),
        resize=chosen["resize"],
        white=White(*chosen["white"]),
    )


def _facts(image: DecodedImage, header: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "shape": image.pixels.shape,
        "mode": image.mode,
        "notes": image.notes,
        "size": image.size,
        "brightest": (image.brightest.integers, image.brightest.floats),
        "values": image.values.hex(),
        "header": header,
    }


def asked_for(files: Sequence[File], choices: Choices) -> bytes:
    """Return what is asked for of files, as `decode_task` reads it."""
    return json.dumps(
        {
            "names": [file.name for file in files],
            "headers": [file.with_header for file in files],
            "max_pixels": choices.max_pixels,
            "input_size": choices.input_size,
            "resize": choices.resize,
            "white": (choices.white.integers, choices.white.floats),
        }
    ).encode("ascii")


def answers_of(answer: Sequence[memoryview]) -> Iterator[Answer]:
    """Yield the images that `decode_task` has answered, or why there are none; their pixels are not copied.

    Raises:
        ValueError, LookupError, TypeError: if it is no answer, because the process has been taken over.
    """
    blocks = iter(answer)
    for facts in json.loads(bytes(next(blocks))):
        if (reason := facts.get("reason")) is not None:
            yield ImageError(str(reason)), None
        else:
            yield _image(facts, next(blocks)), facts["header"]


def image_of(answer: Sequence[memoryview]) -> DecodedImage:
    """Return the image that `decode_task` has answered; its pixels are not copied.

    Raises:
        ImageError: if the answer is the reason why there is none.
        ValueError, LookupError, TypeError: as `answers_of`.
    """
    image, _ = next(answers_of(answer))
    if isinstance(image, ImageError):
        raise image
    return image


def facts_of(answer: Sequence[memoryview]) -> dict[str, Any]:
    """Return the `size` or the `header` that `decode_task` has answered; raises as `image_of`."""
    facts: dict[str, Any] = json.loads(bytes(answer[0]))[0]
    if (reason := facts.get("reason")) is not None:
        raise ImageError(str(reason))
    return facts


def _image(facts: dict[str, Any], block: memoryview) -> DecodedImage:
    height, width, channels = facts["shape"]
    if channels not in (1, 3) or not height or not width:
        raise ValueError(f"pixels of shape {height} x {width} x {channels}")
    full_height, full_width = map(int, facts["size"])
    return DecodedImage(
        pixels=np.frombuffer(block, np.uint8).reshape(height, width, channels),
        mode=str(facts["mode"]),
        notes=tuple(map(str, facts["notes"])),
        size=(full_height, full_width),
        brightest=White(*facts["brightest"]),
        values=bytes.fromhex(facts["values"]),
    )
