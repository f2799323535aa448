"""Read lists of images, CSV or Parquet: one row per image, with its file, label, and optionally its split and group.

Paths are relative to the list's folder. A list is written by its user, so unlike an archive it may point anywhere,
also upwards and to absolute paths; each path must be a file. A Parquet list may hold the files themselves.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from firstlight.data.image_sources import FileImages
from firstlight.data.samples import ImageSource, Samples, Split, label_classes, number_names
from firstlight.data.sources.columns import label_word
from firstlight.data.sources.csv_rows import csv_rows
from firstlight.data.sources.listed_files import FileFinder
from firstlight.data.sources.parquet_rows import ParquetRows
from firstlight.data.sources.split_words import is_split_word, split_of
from firstlight.errors import DataError
from firstlight.escaping import escape_name

_WHOLE_FLOAT = re.compile(r"(-?\d+)\.0+")


def read_list(path: Path, source: str, *, image_column: str | None = None, label_column: str | None = None) -> Samples:
    """Return the images of a list. Rows keep their order; an image with an empty `group` is a group of its own.

    Args:
        path: of the list.
        source: as the user gave it.
        image_column: the heading of the images, if the user names it; by default see `columns.IMAGE_NAMES`.
        label_column: the heading of the labels, if the user names it; by default see `columns.LABEL_NAMES`.

    Raises:
        DataError: with the file and line, if a column, image, label or split is missing or unknown, or an image is
            listed twice.
    """
    where = escape_name(path.name)
    chosen = {"image_column": image_column, "label_column": label_column}
    table = ParquetRows(path, where, **chosen) if path.suffix.lower() == ".parquet" else None
    columns, rows = (table.columns, table) if table else csv_rows(path, where, **chosen)
    finder = FileFinder(path.parent)
    names, labels, splits, groups = [], [], [], []
    places: dict[str, str] = {}
    for place, cells in rows:
        name, label = cells[columns.image], label_word(cells[columns.label])
        if not (table and table.holds_pictures):
            name = finder.find(name, f"{where} {place}")
            if name in places:
                raise DataError(
                    f"{where} {place}: {escape_name(name)} is already on {places[name]}; remove one of the rows"
                )
            places[name] = place
        if not label:
            what = escape_name(name) or "the picture"
            raise DataError(f"{where} {place}: {what} has no label; fill it in or remove the row")
        if "\udc80" <= max(label) <= "\udcff":
            raise DataError(f'{where} {place}: "{escape_name(label)}" is not UTF-8; save the list as CSV UTF-8')
        names.append(name)
        labels.append(label)
        splits.append(_split(cells[columns.split], f"{where} {place}") if columns.split else Split.TRAIN)
        groups.append(cells[columns.group].strip() if columns.group else "")
    if not names:
        raise DataError(f"{where} lists no pictures; add one row for each")
    if table and table.holds_pictures and ("" in names or len(set(names)) < len(names)):
        names = number_names(len(names))
    images: ImageSource = FileImages(path.parent, tuple(names))
    if table and table.holds_pictures:
        images = table.pictures(tuple(names))
    classes, numbers, notes = label_classes(_without_fractions(labels), where)
    return Samples(
        name=path.stem,
        source=source,
        images=images,
        names=tuple(names),
        labels=numbers,
        classes=classes,
        splits=np.array(splits, np.int8) if columns.split else None,
        groups=tuple(group or name for group, name in zip(groups, names, strict=True)) if columns.group else None,
        notes=(*columns.notes, *finder.notes(), *notes),
    )


def _without_fractions(labels: Sequence[str]) -> Sequence[str]:
    """Return 0, 1, 2 for 0.0, 1.0, 2.0, which some programs make of whole numbers where a cell was empty."""
    whole = [_WHOLE_FLOAT.fullmatch(label) for label in labels]
    return [found[1] for found in whole if found] if all(whole) else labels


def _split(word: str, where: str) -> Split:
    split = split_of(word.strip()) if is_split_word(word.strip()) else None
    if split is None:
        raise DataError(f'{where}: there is no split "{escape_name(word)}"; write train, valid or test')
    return split
