"""Tables in Python: data frames of pandas and polars, tables of pyarrow, dicts of columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from firstlight.data.in_memory import is_missing
from firstlight.data.samples import Samples
from firstlight.data.sources.arrays import images_of, labeled, read_labels_for
from firstlight.data.sources.columns import find_columns, label_word
from firstlight.data.sources.labels import cells_of
from firstlight.data.sources.split_words import is_split_word, split_of
from firstlight.errors import DataError
from firstlight.escaping import escape_name

_WHERE = "data frame"
# What arrays in a dict or in an `.npz` are called, and columns never are.
_SINGULAR = {
    "images": "image",
    "pictures": "picture",
    "photos": "photo",
    "files": "file",
    "paths": "path",
    "x": "image",
}


def is_frame(given: Any) -> bool:
    """Return whether this is a table of columns, judging by its methods, without importing any library."""
    if isinstance(given, Mapping):
        return True
    if type(given).__name__ == "LazyFrame":  # which works, and warns, when it is asked for its columns
        return False
    has_columns = hasattr(given, "columns") or hasattr(given, "column_names")
    return has_columns and hasattr(given, "shape") and hasattr(given, "__getitem__") and not hasattr(given, "features")


def from_frame(frame: Any, *, image_column: str | None = None, label_column: str | None = None) -> Samples:
    """Return the images of a table as a set. Columns go by the names that lists have, see `columns`.

    Args:
        frame: of pandas, polars or pyarrow, or a dict of columns. The cells of the image column are paths, or anything
            that `image_content` takes.
        image_column: the name of the column of images, if it has another one.
        label_column: the name of the column of labels, likewise.

    Raises:
        DataError: if a column, a label or a file is missing, or a split has another name.
    """
    table = _columns_of(frame)
    columns = find_columns(list(table), _WHERE, image_column=image_column, label_column=label_column)
    images, names = images_of(table[columns.image], _WHERE)
    labels = read_labels_for(table[columns.label], len(images), _WHERE)
    splits = groups = None
    if columns.split is not None:
        splits = np.array([_split(cell, row) for row, cell in enumerate(cells_of(table[columns.split]))], np.int8)
    if columns.group is not None:
        words = [label_word(cell) for cell in cells_of(table[columns.group])]
        groups = tuple(word or name for word, name in zip(words, names, strict=True))
    return labeled("data-frame", images, names, labels, splits=splits, groups=groups, notes=columns.notes)


def _columns_of(frame: Any) -> dict[str, Any]:
    if isinstance(frame, Mapping):
        return {_SINGULAR.get(str(name).lower(), str(name)): column for name, column in frame.items()}
    if hasattr(frame, "column_names"):  # pyarrow
        return {name: frame.column(name) for name in frame.column_names}
    names = list(frame.columns)
    if len(set(map(str, names))) < len(names):
        raise DataError(f"{_WHERE}: two columns have the same name; rename one")
    return {str(name): frame[name] for name in names}


def _split(cell: Any, row: int) -> int:
    word = "" if is_missing(cell) else str(cell).strip()
    if not is_split_word(word) or (split := split_of(word)) is None:
        raise DataError(f'{_WHERE}: row {row}: there is no split "{escape_name(word)}"; write train, valid or test')
    return split
