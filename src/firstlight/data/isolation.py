"""Decode image files where they can do no harm: plain ones here, all others in processes that can be killed.

A decoder that takes too much time or memory, or crashes, then costs one image and not the run. Pixels, notes and
reasons are the same either way. Where the system lets no other process begin, all files are decoded here.
"""

import atexit
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from firstlight.data.cues import read_header
from firstlight.data.decode_task import (
    HEADER,
    SIZE,
    Answer,
    Choices,
    File,
    answers_of,
    asked_for,
    decode_task,
    facts_of,
    image_of,
)
from firstlight.data.images import MAX_PIXELS, DecodedImage, decode, image_size
from firstlight.data.jpeg import min_decoded_side
from firstlight.data.plain import is_plain
from firstlight.errors import ImageError
from firstlight.runtime.memory import memory_left
from firstlight.runtime.processors import default_workers
from firstlight.white import TYPES_WHITE, White

if TYPE_CHECKING:
    from firstlight.runtime.killable import KillablePool, KilledError, Limits

CPU_SECONDS = 10.0  # that decoding an image of `MAX_PIXELS` may take
SECONDS = 600.0  # however busy the machine is
BYTES_PER_PIXEL = 24  # at the peak of decoding floats
MEMORY = 256 << 20  # bytes beside those of the pixels
ANSWER = 32 << 20  # bytes beside those of the pixels: of several small images, before the last one
TOGETHER_FILES, TOGETHER_BYTES = 32, 256 << 10  # files that are decoded one after the other in one task

Result = TypeVar("Result")
Key = TypeVar("Key")


@dataclass(frozen=True)
class _Decoders:
    """What belongs to one process: others that are forked from it have their own, with locks that nobody holds.

    Attributes:
        pools: the processes that decode for it, by the limit of pixels; None where none can be started.
        ended: why the decoder of a file was ended twice, by limits and digest of the file.
        starting: held while processes are started.
        alone: held by whoever wants all the memory.
    """

    pools: dict[int, "KillablePool | None"] = field(default_factory=dict)
    ended: dict[tuple["Limits", bytes], str] = field(default_factory=dict)
    starting: threading.Lock = field(default_factory=threading.Lock)
    alone: threading.Lock = field(default_factory=threading.Lock)


_by_process: dict[int, _Decoders] = {}


def decode_safely(
    data: bytes,
    *,
    name: str = "",
    max_pixels: int = MAX_PIXELS,
    input_size: tuple[int, int, int] | None = None,
    resize: str = "crop",
    white: White = TYPES_WHITE,
) -> DecodedImage:
    """Return what `images.decode` returns, which says what the arguments are; any thread may call this.

    Raises:
        ImageError: also if decoding takes too much time or memory, or crashes the decoder, even when tried again.
        RecipeError: if there is no such `resize`.
    """
    choices = Choices(max_pixels, input_size, resize, white)
    return _decoded(File(data, name), choices, is_plain(data))


class Together(Generic[Key]):
    """Decodes files as `decode_safely` does, but several small ones that are not plain in one task of another process.

    If one of them takes too much, or crashes the decoder, all that are left are decoded again, one by one. Answers
    come in any order; their pixels are only there until the next answer is asked for.

    Args:
        choices: how images are decoded.
    """

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._waiting: dict[Key, File] = {}
        self._size = 0

    def add(self, key: Key, file: File) -> Iterator[tuple[Key, Answer]]:
        """Yield what is decoded by now, with the key of each; this file may come now or later."""
        plain, size = is_plain(file.data), len(file.data)
        if plain or size > TOGETHER_BYTES or _why_ended(file.data, self._choices.max_pixels):
            yield key, _answer(file, self._choices, plain)
            return
        if len(self._waiting) == TOGETHER_FILES or self._size + size > TOGETHER_BYTES:
            yield from self.rest()
        self._waiting[key] = file
        self._size += size

    def rest(self) -> Iterator[tuple[Key, Answer]]:
        """Yield the answers that are left."""
        waiting, self._waiting, self._size = self._waiting, {}, 0
        yield from _together(waiting, self._choices)


def _together(files: dict[Key, File], choices: Choices) -> Iterator[tuple[Key, Answer]]:
    left = list(files.items())
    pool = _pool(choices.max_pixels) if len(left) > 1 else None
    if pool is not None:
        from firstlight.runtime.killable import CannotStartError, KilledError

        with suppress(KilledError, CannotStartError, OSError):
            while left:
                these = [file for _, file in left]
                with pool.lent(asked_for(these, choices), *(file.data for file in these)) as answer:
                    for found in answers_of(answer):
                        yield left.pop(0)[0], found
    for key, file in left:
        yield key, _answer(file, choices, plain=False)


def _answer(file: File, choices: Choices, plain: bool) -> Answer:
    try:
        image = _decoded(file, choices, plain)
    except ImageError as reason:
        return reason, None
    return image, read_header_safely(file.data) if file.with_header else None


def _decoded(file: File, choices: Choices, plain: bool) -> DecodedImage:
    if choices.input_size is not None:
        min_decoded_side(choices.input_size, choices.resize)
    here = partial(decode, file.data, name=file.name, **choices._asdict())
    return _safely(file.data, here, asked_for([file], choices), _copied, max_pixels=choices.max_pixels, plain=plain)


def image_size_safely(data: bytes) -> tuple[int, int]:
    """Return what `images.image_size` returns, in the same way."""
    height, width = _safely(data, partial(image_size, data), SIZE, lambda answer: facts_of(answer)["size"])
    return height, width


def read_header_safely(data: bytes) -> dict[str, Any]:
    """Return what `cues.read_header` returns, in the same way."""
    with suppress(ImageError):
        found: dict[str, Any]
        found = _safely(data, partial(read_header, data), HEADER, lambda answer: facts_of(answer)["header"])
        return found
    return {}


def why_killed(killed: "KilledError", limits: "Limits") -> str:
    """Return in words why an image cannot be used whose decoder was ended."""
    if killed.by == "time":
        return f"decoding takes longer than {limits.cpu_seconds:g} s"
    if killed.by == "memory":
        return f"decoding needs more than {limits.memory / 1e9:.3g} GB of memory"
    return f"the decoder crashed (signal {killed.signal})" if killed.signal else "the decoder crashed"


def _copied(answer: Sequence[memoryview]) -> DecodedImage:
    image = image_of(answer)
    return replace(image, pixels=np.array(image.pixels))


def _safely(
    data: bytes,
    here: Callable[[], Result],
    asked: bytes,
    read: Callable[[Sequence[memoryview]], Result],
    *,
    max_pixels: int = MAX_PIXELS,
    plain: bool | None = None,
) -> Result:
    """Return what a file is asked for.

    Args:
        data: of the file.
        here: finds it in this process.
        asked: what another process is to find.
        read: what its answer means.
        max_pixels: decides how much the other process may take.
        plain: whether the file is, if that is known.
    """
    if is_plain(data) if plain is None else plain:
        with suppress(MemoryError):  # it may be less alone, or where others have not taken it
            return here()
    pool = _pool(max_pixels)
    if pool is not None:
        from firstlight.runtime.killable import CannotStartError

        with suppress(OSError, CannotStartError):
            return _elsewhere(pool, [asked, data], read)
    with suppress(MemoryError):
        return here()
    with _ours().alone:
        try:
            return here()
        except MemoryError:
            raise ImageError("decoding needs more memory than there is; make it smaller") from None


def _elsewhere(pool: "KillablePool", task: Sequence[bytes], read: Callable[[Sequence[memoryview]], Result]) -> Result:
    from firstlight.runtime.killable import KilledError

    ours = _ours()
    if ours.ended and (reason := ours.ended.get((pool.limits, _digest(task[-1])))) is not None:
        raise ImageError(reason)
    with suppress(KilledError), pool.lent(*task) as answer:
        return read(answer)
    with ours.alone:  # what others took may have been the cause
        try:
            with pool.lent(*task) as answer:
                return read(answer)
        except KilledError as killed:
            reason = why_killed(killed, pool.limits)
            ours.ended[pool.limits, _digest(task[-1])] = reason
            raise ImageError(reason) from None


def _why_ended(data: bytes, max_pixels: int) -> str | None:
    """Return why a decoder of this file was ended twice, if it was."""
    ended = _ours().ended
    pool = _pool(max_pixels) if ended else None
    return None if pool is None else ended.get((pool.limits, _digest(data)))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _ours() -> _Decoders:
    return _by_process.setdefault(os.getpid(), _Decoders())


def _pool(max_pixels: int) -> "KillablePool | None":
    """Return the processes that decode for this one, started when they are first needed; None where none can be."""
    ours = _ours()
    with ours.starting:
        if max_pixels not in ours.pools:
            ours.pools[max_pixels] = _started(max_pixels)
        return ours.pools[max_pixels]


def _started(max_pixels: int) -> "KillablePool | None":
    try:
        from firstlight.runtime.killable import KillablePool, Limits
    except ImportError:  # Windows
        return None
    limits = Limits(
        cpu_seconds=CPU_SECONDS * max(1, max_pixels / MAX_PIXELS),
        seconds=SECONDS,
        memory=MEMORY + BYTES_PER_PIXEL * max_pixels,
        answer=ANSWER + 3 * max_pixels,
    )
    workers = max(1, min(default_workers(), memory_left() // limits.memory))
    pool = KillablePool(decode_task, workers, limits, patience=SECONDS)
    try:
        pool.start()
    except (OSError, RuntimeError):
        pool.stop()
        return None
    atexit.register(_stop, pool, os.getpid())
    return pool


def _stop(pool: "KillablePool", process: int) -> None:
    if os.getpid() == process:
        pool.stop()
