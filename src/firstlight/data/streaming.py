"""Rows of a set that are decoded whenever they are used, where a disk has no room for packed pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.decode_task import Choices
from firstlight.data.images import resize_image
from firstlight.data.parallel import in_order
from firstlight.data.reading import read_samples
from firstlight.data.samples import Samples
from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.progress import progress
from firstlight.verified import CheckedRows

ROWS_AT_ONCE = 16  # decoded by one thread
SHOWN_ABOVE = 5000  # rows that are asked for at once: as many are not a batch, and take their time


class StreamedRows:
    """Images uint8 `[N, H, W, C]` that take an index as any array does, and are then decoded, in threads.

    They are those that `packing` writes, bit for bit; rows of quarantined images are black.

    Args:
        samples: the set.
        choices: how images are decoded; `input_size` is their size.
        quarantined: rows that cannot be used.
        workers: threads.

    Attributes:
        shape, dtype, ndim: as of an array.
    """

    def __init__(self, samples: Samples, choices: Choices, quarantined: set[int], workers: int) -> None:
        assert choices.input_size is not None
        channels, height, width = choices.input_size
        self.shape, self.dtype, self.ndim = (len(samples), height, width, channels), np.dtype(np.uint8), 4
        self._samples, self._choices, self._quarantined, self._workers = samples, choices, quarantined, workers
        self._numbers = np.arange(len(samples))

    def __len__(self) -> int:
        return len(self._numbers)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:], dtype=dtype, copy=copy)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return some rows, decoded now.

        Raises:
            DataError: if an image can no longer be read.
        """
        first, *rest = index if isinstance(index, tuple) else (index,)
        rows = self._numbers[first]
        images = self._decoded(np.atleast_1d(rows))
        found: NDArray[Any] = images[0][tuple(rest)] if rows.ndim == 0 else images[(slice(None), *rest)]
        return found

    def _decoded(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = np.zeros((len(rows), *self.shape[1:]), np.uint8)
        if len(rows) <= ROWS_AT_ONCE:
            self._decode_into(images, rows)
            return images
        parts = [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(rows), ROWS_AT_ONCE)]
        total = len(rows) if len(rows) > SHOWN_ABOVE else 0
        work = in_order(lambda part: self._decode_into(images[part], rows[part]), parts, self._workers)
        if not total:
            for _ in work:
                pass
            return images
        with progress("decoding pictures", total, "pictures") as advance:
            for done in work:
                advance(done)
        return images

    def _decode_into(self, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> int:
        """Fill in the images of some rows, and return how many they are."""
        places: dict[int, list[int]] = {}
        for place, row in enumerate(rows.tolist()):
            if row not in self._quarantined:
                places.setdefault(row, []).append(place)
        assert self._choices.input_size is not None
        for row, reading in read_samples(self._samples, list(places), self._choices):
            if reading.image is None:
                name = escape_name(self._samples.names[row])
                raise DataError(
                    f"{escape_name(self._samples.source)}: {name} could be used before, but now {reading.reason}; "
                    "leave the pictures as they are while they are used"
                )
            images[places[row]] = resize_image(reading.image.pixels, self._choices.input_size, self._choices.resize)
        return len(rows)


PixelRows = NDArray[np.uint8] | CheckedRows | StreamedRows  # uint8 `[N, H, W, C]`
