"""Read lists of images, CSV or Parquet: `image,label[,split][,group]`.

Paths are relative to the list's folder. A list is written by its user, so unlike an archive it may point anywhere,
also upwards and to absolute paths; each path must be a file.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from firstlight.data.image_sources import FileImages
from firstlight.data.samples import SPLIT_WORDS, Samples, Split, label_classes
from firstlight.errors import DataError
from firstlight.escaping import escape_name

LIST_SUFFIXES = (".csv", ".tsv", ".parquet")
_COLUMNS = ("image", "label", "split", "group")

Row = tuple[str, dict[str, str]]  # the place for messages, such as "line 17", and the cells by column


def read_list(path: Path, source: str) -> Samples:
    """Return the images of a list. Rows keep their order; an image with an empty `group` is a group of its own.

    Raises:
        DataError: with the file and line, if a column, image, label or split is missing or unknown, or an image is
            listed twice.
    """
    where = escape_name(path.name)
    columns, rows = _parquet_rows(path, where) if path.suffix.lower() == ".parquet" else _csv_rows(path, where)
    missing = [name for name in _COLUMNS[:2] if name not in columns]
    if missing:
        found = ", ".join(escape_name(name, 40) for name in columns)
        raise DataError(f'{where} has no column "{missing[0]}" (found: {found}); name image,label[,split][,group]')
    names: dict[str, str] = {}
    labels, splits, groups = [], [], []
    for place, cells in rows:
        label = cells["label"].strip()
        image = _existing(path.parent, cells["image"], f"{where} {place}")
        if image in names:
            raise DataError(
                f"{where} {place}: {escape_name(image)} is already on {names[image]}; remove one of the rows"
            )
        if not label:
            raise DataError(f"{where} {place}: {escape_name(image)} has no label; fill it in or remove the row")
        names[image] = place
        labels.append(label)
        splits.append(_split(cells["split"], f"{where} {place}") if "split" in columns else Split.TRAIN)
        groups.append(cells["group"].strip() or image if "group" in columns else "")
    if not names:
        raise DataError(f"{where} lists no pictures; add a row image,label for each")
    classes, numbers, notes = label_classes(labels, where)
    return Samples(
        name=path.stem,
        source=source,
        images=FileImages(path.parent, tuple(names)),
        names=tuple(names),
        labels=numbers,
        classes=classes,
        splits=np.array(splits, np.int8) if "split" in columns else None,
        groups=tuple(groups) if "group" in columns else None,
        notes=notes,
    )


def _csv_rows(path: Path, where: str) -> tuple[list[str], Iterator[Row]]:
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{where} is UTF-16 text; save it as CSV in UTF-8")
    # file names need not be valid Unicode: surrogateescape keeps their bytes
    text = data.decode("utf-8-sig", "surrogateescape")
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def lines() -> Iterator[tuple[int, list[str]]]:
        try:
            for cells in reader:
                yield reader.line_num, cells
        except csv.Error as error:
            raise DataError(f"{where} line {reader.line_num}: not valid CSV ({error})") from error

    every_line = lines()
    columns = [name.strip().lower() for name in next(every_line, (0, []))[1]]
    _refuse_repeated(columns, where)

    def rows() -> Iterator[Row]:
        for number, cells in every_line:
            if not any(cells):
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"{where} line {number}: {len(cells)} cells where the first line names {len(columns)} columns; "
                    "quote cells that contain the separator"
                )
            yield f"line {number}", dict(zip(columns, cells, strict=True))

    return columns, rows()


def _parquet_rows(path: Path, where: str) -> tuple[list[str], Iterator[Row]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        columns = list(file.schema_arrow.names)
        wanted = [name for name in _COLUMNS if name in columns]
        for name in wanted:
            kind = file.schema_arrow.field(name).type
            if pa.types.is_nested(kind) or pa.types.is_binary(kind):
                raise DataError(f"{where}: the column {name} holds {kind}; it must hold text")
        _refuse_repeated(columns, where)
        table = file.read(wanted).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} cannot be read as Parquet ({escape_name(str(error))}); write it again") from error
    cells = zip(*table.values(), strict=True)
    words = (["" if cell is None else str(cell) for cell in row] for row in cells)
    rows = ((f"row {number}", dict(zip(wanted, row, strict=True))) for number, row in enumerate(words, 1))
    return columns, rows


def _refuse_repeated(columns: list[str], where: str) -> None:
    for name in _COLUMNS:
        if columns.count(name) > 1:
            raise DataError(f"{where} has the column {name} {columns.count(name)} times; keep one")


def _existing(folder: Path, image: str, where: str) -> str:
    """Return the path as it exists on this system, with spaces around it or backslashes in it if need be.

    Raises:
        DataError: if there is no file of that name.
    """
    for name in dict.fromkeys((image, image.strip(), image.replace("\\", "/"))):
        try:
            if name and Path(folder, name).is_file():
                return name
        except OSError:  # the name is too long, or the folder must not be entered
            continue
    if not image.strip():
        raise DataError(f"{where}: the column image is empty; fill it in or remove the row")
    raise DataError(f"{where}: no picture at {escape_name(image)}; fix the path or remove the row")


def _split(word: str, where: str) -> Split:
    try:
        return SPLIT_WORDS[word.strip().lower()]
    except KeyError:
        raise DataError(f'{where}: there is no split "{escape_name(word)}"; write train, valid or test') from None
