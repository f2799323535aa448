"""`Decoders`: the bytes of one upload in, pixels of the model's size out, decoded in processes that can be killed."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

import numpy as np
from numpy.typing import NDArray

from firstlight.data.decode_task import Choices, File, asked_for, decode_task, image_of
from firstlight.data.isolation import why_killed
from firstlight.errors import ImageError
from firstlight.inference.inputs import Item, Target, read_item, read_whole
from firstlight.runtime.killable import KillablePool, KilledError, Limits

__all__ = ["Decoders", "Limits"]


class Decoders:
    """Decodes image files that strangers sent, with the same pixels and reasons as a `Predictor`.

    Files are decoded in other processes, several at once; any thread may call this. One that takes more than the
    limits, or crashes the decoder, is refused with that as the reason; the others go on.

    Args:
        target: how the images are prepared; that of the Predictor.
        workers: number of processes.
        limits: of each file.
    """

    def __init__(self, target: Target, workers: int = 2, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self.target = target
        self.limits = limits
        self._pool = KillablePool(decode_task, workers, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the processes now instead of on the first file.

        Raises:
            RuntimeError: if the system does not let them start.
        """
        self._pool.start()

    def stop(self) -> None:
        """End all processes; files that are being decoded fail with a RuntimeError."""
        self._pool.stop()

    def submit(self, data: bytes, name: str = "") -> "Future[NDArray[np.uint8] | str]":
        """Return a future of what `read` returns; in a coroutine, await it with `asyncio.wrap_future`."""
        return self._pool.threads.submit(self.read, data, name)

    def read(self, data: bytes, name: str = "") -> NDArray[np.uint8] | str:
        """Return an image file as uint8 `[H, W, C]` of the model's size, or the reason why it cannot be used.

        Args:
            data: the file's bytes.
            name: the file's name, which tells apart a few formats that look alike.
        """
        target = self.target
        return self._read(data, name, target.input_size, target.resize, lambda item: read_item(item, target))

    def read_whole(self, data: bytes, side: int, name: str = "") -> NDArray[np.uint8] | str:
        """Return a whole image, made smaller if a side is longer than `side`; else as `read` does."""
        return self._read(data, name, (3, side, side), "pad", lambda item: read_whole(item, self.target, side))

    def _read(
        self,
        data: bytes,
        name: str,
        size: tuple[int, int, int],
        resize: str,
        resized: Callable[[Item], NDArray[np.uint8] | str],
    ) -> NDArray[np.uint8] | str:
        target = self.target
        asked = asked_for([File(data, name)], Choices(target.max_pixels, size, resize, target.white))
        try:
            with self._pool.lent(asked, data) as answer:
                pixels = image_of(answer).pixels
                result = resized(Item(pixels, name))
                if isinstance(result, str):
                    return result
                return result.copy() if np.shares_memory(pixels, result) else result
        except ImageError as reason:
            return str(reason)
        except KilledError as killed:
            return why_killed(killed, self.limits)
