"""Labels as Python holds them: words, whole numbers, booleans, one-hot rows, in lists, arrays, tensors and columns."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstlight.data.in_memory import as_array, is_missing
from firstlight.data.samples import label_classes
from firstlight.errors import DataError, kind_of
from firstlight.escaping import escape_name

TAKEN = "give a word or a whole number for each picture, or one-hot rows"


class Labels(NamedTuple):
    """The classes, the label of each image as a position among them, int64 `[N]`, and what a person should know."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def read_labels(values: Any, where: str, names: Sequence[str] | None = None) -> Labels:
    """Return labels in whatever form they come.

    Args:
        values: `[N]` or `[N, 1]` words, in whose lexicographic order the classes are; or whole numbers (also as floats)
            or booleans, in numeric order; or `[N, K]` one-hot.
        where: the source, for messages.
        names: what the numbers 0, 1, ... stand for, if that is known; their order is kept.

    Raises:
        DataError: if a label is missing, is not a whole number, or has no name.
    """
    if hasattr(values, "columns") and hasattr(values, "to_numpy"):  # a data frame: of one column, or one-hot
        headings = [str(name) for name in values.columns]
        names = headings if len(headings) > 1 else names
        values = values.to_numpy()
    found = _column(values, where)
    if found.dtype.kind == "f":
        _refuse_unless(np.isfinite(found), found, where, "is missing or not a number")
        _refuse_unless(found == np.rint(found), found, where, "is not a whole number")
        found = found.astype(np.int64)
    if found.dtype.kind == "b":
        found, names = found.astype(np.int64), names or ("False", "True")
    if found.dtype.kind in "iu":
        return _numbered(found, where, names)
    if found.dtype.kind != "U":
        raise DataError(f"{where}: labels are {found.dtype}; {TAKEN}")
    words = found.tolist()
    _refuse_unless(np.array([bool(word.strip()) for word in words]), found, where, "is empty")
    return Labels(*label_classes(words, where))


def cells_of(column: Any) -> Any:
    """Return a column of pandas, polars, pyarrow or Hugging Face as a list; anything else as it is."""
    for method in ("to_pylist", "to_list", "tolist"):
        if not isinstance(column, np.ndarray) and not hasattr(column, "detach") and hasattr(column, method):
            return getattr(column, method)()
    return column


def _column(values: Any, where: str) -> NDArray[Any]:
    """Return labels as an array `[N]` of numbers, booleans or words."""
    cells = cells_of(values)
    if hasattr(cells, "__array__"):
        found = as_array(cells)
        if found.dtype.kind == "O":
            cells = found.tolist()
    if not hasattr(cells, "__array__"):
        if isinstance(cells, str | bytes) or not hasattr(cells, "__iter__"):
            raise DataError(f"{where}: the labels are {kind_of(cells)}; {TAKEN}")
        found = _array_of([cell.item() if getattr(cell, "shape", None) == () else cell for cell in cells], where)
    if found.dtype.kind == "S":
        found = np.char.decode(found, "utf-8", "surrogateescape")
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim == 2 and found.dtype.kind in "biuf":
        return _positions(found, where)
    if found.ndim != 1:
        raise DataError(f"{where}: labels have shape {found.shape}; {TAKEN}")
    return found


def _array_of(cells: list[Any], where: str) -> NDArray[Any]:
    for number, cell in enumerate(cells):
        if is_missing(cell):
            raise DataError(f"{where}: label {number} is missing; fill it in, or remove its picture")
    kinds = {"words" if isinstance(cell, str) else "numbers" for cell in cells}
    if len(kinds) > 1:
        mixed = next(n for n, cell in enumerate(cells) if isinstance(cell, str) != isinstance(cells[0], str))
        raise DataError(
            f"{where}: labels mix words and numbers, such as {cells[0]!r} and {cells[mixed]!r}; use one or the other"
        )
    try:
        found = np.array([as_array(cell) if hasattr(cell, "detach") else cell for cell in cells])
    except (ValueError, OverflowError):
        raise DataError(f"{where}: some labels have several values, others one; {TAKEN}") from None
    if found.dtype.kind == "O":
        raise DataError(f"{where}: labels are {kind_of(cells[0])} each; {TAKEN}")
    return found


def _positions(rows: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Return where the 1 is in each one-hot row."""
    one_hot = (rows == 1).sum(axis=1) == 1
    one_hot &= (rows == 0).sum(axis=1) == rows.shape[1] - 1
    if not one_hot.all():
        first = int(np.flatnonzero(~one_hot)[0])
        raise DataError(
            f"{where}: labels have shape {rows.shape}, but row {first} is not one 1 and zeros, as one-hot rows are; "
            "give one label for each picture"
        )
    positions: NDArray[np.int64] = rows.argmax(axis=1)
    return positions


def _numbered(numbers: NDArray[Any], where: str, names: Sequence[str] | None) -> Labels:
    if names is not None:
        _refuse_unless(
            (numbers >= 0) & (numbers < len(names)), numbers, where, f"is not one of the {len(names)} classes, 0 to "
            f"{len(names) - 1}",
        )  # fmt: skip
        present = np.unique(numbers).tolist()
        words = [names[number] for number in present]
        if len(set(words)) < len(words):
            raise DataError(f"{where}: two classes have the same name; rename one")
    else:
        present = np.unique(numbers).tolist()
        words = [str(number) for number in present]
    return Labels(tuple(words), np.searchsorted(present, numbers).astype(np.int64))


def _refuse_unless(good: NDArray[Any], values: NDArray[Any], where: str, what: str) -> None:
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        value = escape_name(str(values[first]).strip(), 40)
        raise DataError(f"{where}: label {first}{value and f' ({value})'} {what}; {TAKEN}")
