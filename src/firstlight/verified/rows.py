"""A large array in a file, each block of which is compared with its digest when it is first read."""

import weakref
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from firstlight.verified.blocks import BLOCK_BYTES, Blocks, DamagedError


class CheckedRows:
    """An array `[N, ...]` that takes an index as any array does; `np.asarray` reads all of it.

    Args:
        array: mapped into memory.
        file: that the array is in, up to its end.
        blocks: of that file.
        on_damage: is called with the reason, and raises an error for the user.

    Attributes:
        shape, dtype, ndim: as of an array.
    """

    def __init__(self, array: NDArray[Any], file: BinaryIO, blocks: Blocks, on_damage: Callable[[str], None]) -> None:
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self._array, self._file, self._blocks, self._on_damage = array, file, blocks, on_damage
        weakref.finalize(self, file.close)
        self._is_right = np.zeros(len(blocks), bool)
        self._numbers = np.arange(len(array))

    def __len__(self) -> int:
        return len(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:], dtype=dtype, copy=copy)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return some rows, after comparing the blocks in which they are."""
        rows = np.atleast_1d(self._numbers[index[0] if isinstance(index, tuple) else index])
        if len(rows):
            unseen = self._unseen(rows)
            try:
                self._blocks.require(self._file, "it", unseen.tolist())
            except OSError as error:
                self._on_damage(f"it cannot be read: {error.strerror}")
            except DamagedError as error:
                self._on_damage(str(error))
            self._is_right[unseen] = True
        found: NDArray[Any] = self._array[index]
        return found

    def _unseen(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the blocks in which rows are, without those that were compared already."""
        row_bytes = self._array[0].nbytes
        start = self._blocks.count - self._array.nbytes
        first = (start + rows * row_bytes) // BLOCK_BYTES
        last = (start + (rows + 1) * row_bytes - 1) // BLOCK_BYTES
        touched = np.zeros_like(self._is_right)
        for further in range(row_bytes // BLOCK_BYTES + 2):
            touched[np.minimum(first + further, last)] = True
        return np.flatnonzero(touched & ~self._is_right)
