"""Lists of images, CSV or Parquet: `image,label[,split][,group]`.

Paths are relative to the list's folder. A list is written by its user, so it may point anywhere, also upwards and to
absolute paths; what it names must be a file.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from firstlight.data.samples import SPLIT_WORDS, FileImages, Samples, label_classes, shown
from firstlight.errors import DataError

LIST_SUFFIXES = (".csv", ".tsv", ".parquet")
_COLUMNS = ("image", "label", "split", "group")

Row = tuple[str, dict[str, str]]  # where it stands, for a person; and its cells by column


def read_list(path: Path, source: str) -> Samples:
    """Read a list; rows keep their order, an empty `group` is a group of its own.

    Raises:
        DataError: naming the file and line, if a column, an image, a label or a split is missing or unknown, or a
            image is listed twice.
    """
    where = shown(path.name)
    columns, rows = _parquet_rows(path, where) if path.suffix.lower() == ".parquet" else _csv_rows(path, where)
    missing = [name for name in _COLUMNS[:2] if name not in columns]
    if missing:
        found = ", ".join(shown(name, 40) for name in columns)
        raise DataError(f'{where} has no column "{missing[0]}" (found: {found}); name image,label[,split][,group]')
    names: dict[str, str] = {}
    labels, splits, groups = [], [], []
    for place, cells in rows:
        image, label = cells["image"], cells["label"].strip()
        image = _existing(path.parent, image, f"{where} {place}")
        if image in names:
            raise DataError(f"{where} {place}: {shown(image)} is already on {names[image]}; remove one of the rows")
        if not label:
            raise DataError(f"{where} {place}: {shown(image)} has no label; fill it in or remove the row")
        names[image] = place
        labels.append(label)
        splits.append(_split(cells["split"], f"{where} {place}") if "split" in columns else 0)
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
    # names of files need not be Unicode: surrogateescape keeps them as they are on disk
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
                raise DataError(f"{where}: the column {name} holds {kind}; paths and words are wanted")
        _refuse_repeated(columns, where)
        table = file.read(wanted).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} cannot be read as Parquet ({shown(str(error))}); write it again") from error
    cells = zip(*table.values(), strict=True)
    words = (["" if cell is None else str(cell) for cell in row] for row in cells)
    rows = ((f"row {number}", dict(zip(wanted, row, strict=True))) for number, row in enumerate(words, 1))
    return columns, rows


def _refuse_repeated(columns: list[str], where: str) -> None:
    for name in _COLUMNS:
        if columns.count(name) > 1:
            raise DataError(f"{where} has the column {name} {columns.count(name)} times; keep one")


def _existing(folder: Path, image: str, where: str) -> str:
    """Give the path with the slashes that exist here.

    Raises:
        DataError: if there is no file of that name.
    """
    for name in dict.fromkeys((image, image.strip(), image.replace("\\", "/"))):
        try:
            if name and Path(folder, name).is_file():
                return name
        except OSError:  # a name that is too long, a folder that may not be entered
            continue
    if not image.strip():
        raise DataError(f"{where}: no picture is named; fill in image or remove the row")
    raise DataError(f"{where}: no picture at {shown(image)}; fix the path or remove the row")


def _split(word: str, where: str) -> int:
    try:
        return SPLIT_WORDS[word.strip().lower()]
    except KeyError:
        raise DataError(f'{where}: there is no split "{shown(word)}"; write train, valid or test') from None
