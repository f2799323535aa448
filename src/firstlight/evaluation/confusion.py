"""`Confusion`: how often each class was mistaken for each other class, as the cells that are not zero.

A test set of n samples fills at most n cells, however many classes there are: 10,000 classes have 100 million cells.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from firstlight.errors import DataError


class Cell(NamedTuple):
    """How many samples, n, of the class `true` were predicted as the class `predicted`; classes by position."""

    true: int
    predicted: int
    n: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of samples by true and predicted class.

    It reads like a matrix `[K, K]` with one row per true class: `confusion[true][predicted]` is a count, iterating
    gives the rows, and `numpy.array(confusion)` is the whole matrix, int64.

    Attributes:
        size: the number of classes, K.
        cells: those that are not zero, by true and then predicted class.

    Example:
        >>> confusion = Confusion.of([[8, 2], [0, 5]])
        >>> confusion.cells[1]
        Cell(true=0, predicted=1, n=2)
        >>> confusion[0][1]
        2
    """

    size: int
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        places = [(cell.true, cell.predicted) for cell in self.cells]
        inside = all(0 <= index < self.size for place in places for index in place)
        ordered = all(here < after for here, after in zip(places, places[1:], strict=False))
        if not inside or not ordered or any(cell.n < 1 for cell in self.cells):
            raise ValueError(f"its cells are not those of a confusion matrix of {self.size} classes")

    @classmethod
    def of(cls, counts: Union["Confusion", ArrayLike]) -> "Confusion":
        """Return the confusion that a matrix of counts `[K, K]` holds; a `Confusion` as it is.

        Raises:
            DataError: if it is not a square matrix of whole numbers >= 0.
        """
        if isinstance(counts, Confusion):
            return counts
        matrix = np.asarray(counts)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            shape = " x ".join(map(str, matrix.shape))
            raise DataError(f"a confusion matrix has one row and one column per class; this is {shape or 'one number'}")
        true, predicted = np.nonzero(matrix)
        values = matrix[true, predicted]
        if not (values == np.floor(values)).all() or (values < 0).any():
            raise DataError("a confusion matrix holds counts: whole numbers that are not negative")
        return cls(len(matrix), _cells(true, predicted, values.astype(np.int64)))

    @classmethod
    def count(cls, labels: NDArray[np.int64], predicted: NDArray[np.int64], size: int) -> "Confusion":
        """Return the confusion of n answers.

        Args:
            labels: the true classes, int64 `[n]` in 0..K-1.
            predicted: the predicted ones.
            size: K.
        """
        places, counts = np.unique(labels * size + predicted, return_counts=True)
        return cls(size, _cells(places // size, places % size, counts))

    @property
    def total(self) -> int:
        """How many samples were counted."""
        return int(self.true_counts.sum())

    @property
    def true_counts(self) -> NDArray[np.int64]:
        """How many samples each class has, int64 `[K]`."""
        true, _, counts = self._columns()
        return self._summed(true, counts)

    @property
    def predicted_counts(self) -> NDArray[np.int64]:
        """How many samples were predicted as each class, int64 `[K]`."""
        _, predicted, counts = self._columns()
        return self._summed(predicted, counts)

    @property
    def hits(self) -> NDArray[np.int64]:
        """How many samples of each class were predicted as that class, int64 `[K]`."""
        true, predicted, counts = self._columns()
        return self._summed(true, np.where(true == predicted, counts, 0))

    def mistakes(self) -> list[Cell]:
        """Return the cells of wrong answers: the most frequent first, then those of the class with fewer samples."""
        sizes = self.true_counts
        wrong = [cell for cell in self.cells if cell.true != cell.predicted]
        return sorted(wrong, key=lambda cell: (-cell.n, sizes[cell.true], cell.true, cell.predicted))

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, true: int) -> tuple[int, ...]:
        """Return the row of a class: how often it was predicted as each class."""
        place = range(self.size)[true]  # which refuses what is out of range, as a tuple does
        row = [0] * self.size
        for cell in self.cells[bisect_left(self.cells, (place,)) : bisect_left(self.cells, (place + 1,))]:
            row[cell.predicted] = cell.n
        return tuple(row)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return (self[true] for true in range(self.size))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole matrix, int64 `[K, K]` unless another type is asked for."""
        true, predicted, counts = self._columns()
        matrix = np.zeros((self.size, self.size), np.int64)
        matrix[true, predicted] = counts
        return matrix if dtype is None else matrix.astype(dtype)

    def _columns(self) -> NDArray[np.int64]:
        """Return true classes, predicted classes and counts of the cells, int64 `[3, cells]`."""
        return np.array(self.cells, np.int64).reshape(-1, 3).T

    def _summed(self, classes: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.zeros(self.size, np.int64)
        np.add.at(sums, classes, counts)
        return sums


def todays_layout(value: Any) -> Any:
    """Return a confusion as `to_json` lays it out; earlier versions wrote all K rows of K counts."""
    if not isinstance(value, list) or any(not isinstance(row, list) or len(row) != len(value) for row in value):
        return value
    cells = [(true, predicted, count) for true, row in enumerate(value) for predicted, count in enumerate(row) if count]
    return {"size": len(value), "cells": cells}


def _cells(*columns: NDArray[np.int64]) -> tuple[Cell, ...]:
    return tuple(map(Cell, *(column.tolist() for column in columns)))
