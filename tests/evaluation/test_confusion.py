"""A sparse confusion is the matrix of counts that scikit-learn makes, and nothing that is no such matrix."""

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from firstlight.errors import DataError
from firstlight.evaluation import confusion as module
from firstlight.evaluation.confusion import Cell, Confusion


def drawn(size=6, n=200):
    rng = np.random.default_rng(size)
    labels, predicted = rng.integers(0, size, (2, n))
    return (
        labels,
        predicted,
        Confusion.count(labels, predicted, size),
        oracle.confusion_matrix(labels, predicted, labels=range(size)),
    )


@pytest.mark.parametrize("size", [2, 6, 40])
def test_it_is_the_matrix_however_it_is_read(size):
    _, _, confusion, matrix = drawn(size)
    assert (np.array(confusion) == matrix).all()
    assert (torch.tensor(confusion).numpy() == matrix).all()
    assert list(confusion) == [tuple(row) for row in matrix.tolist()]
    assert confusion[size - 1] == confusion[-1] == tuple(matrix[-1])
    assert len(confusion) == size
    with pytest.raises(IndexError):
        confusion[size]
    assert np.asarray(confusion, np.float32).dtype == np.float32
    assert Confusion.of(matrix) == Confusion.of(torch.tensor(matrix)) == Confusion.of(confusion) == confusion


def test_its_sums_are_those_of_the_matrix():
    _, _, confusion, matrix = drawn()
    assert (confusion.true_counts == matrix.sum(axis=1)).all()
    assert (confusion.predicted_counts == matrix.sum(axis=0)).all()
    assert (confusion.hits == matrix.diagonal()).all()
    assert confusion.total == matrix.sum()


def test_the_most_frequent_mistakes_come_first():
    confusion = Confusion.of([[9, 1, 3], [3, 0, 0], [0, 1, 5]])
    assert confusion.mistakes() == [Cell(1, 0, 3), Cell(0, 2, 3), Cell(2, 1, 1), Cell(0, 1, 1)]


@given(st.integers(1, 60), st.integers(1, 2_000_000_000))
def test_its_cells_are_as_many_as_samples_at_most_whatever_the_number_of_classes(n, size):
    labels = np.random.default_rng(n).integers(0, size, n)
    confusion = Confusion.count(labels, labels[::-1], size)
    assert len(confusion.cells) <= n
    assert sum(cell.n for cell in confusion.cells) == n


@pytest.mark.parametrize("wrong", [[1, 2], [[1, 2]], 3, [[0.5]], [[-1]], [[float("nan")]]])
def test_what_is_no_matrix_of_counts_is_refused(wrong):
    with pytest.raises(DataError, match="a confusion matrix"):
        Confusion.of(wrong)


@pytest.mark.parametrize("cells", [[(0, 3, 1)], [(-1, 0, 1)], [(0, 0, 0)], [(1, 0, 1), (0, 0, 1)], [(0, 0, 1)] * 2])
def test_cells_that_no_count_makes_are_refused(cells):
    with pytest.raises(ValueError, match="not those of a confusion matrix of 3 classes"):
        Confusion(3, tuple(Cell(*cell) for cell in cells))


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(module) == (0, 3)
