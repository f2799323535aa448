"""Read the paths of a CSV or Parquet list row by row, as for predictions: without labels, however long it is."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from firstlight.data.sources.columns import find_image_column
from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.files import from_cell, open_regular, open_regular_text

BYTE_ORDER_MARK = "\ufeff"


def paths_in_list(path: Path, where: str) -> Iterator[str]:
    """Yield the path in each row of a list; those that are relative begin at the list's folder.

    Whether there is such a file is not looked at.

    Args:
        path: of the list, `.csv`, `.tsv` or `.parquet`.
        where: the list, for messages.

    Raises:
        DataError: if it is no such list, or has no column of images.
        OSError: if it cannot be read.
    """
    for cell in _parquet_cells(path, where) if path.suffix.lower() == ".parquet" else _csv_cells(path, where):
        yield str(Path(path.parent, cell)) if cell else ""


def _csv_cells(path: Path, where: str) -> Iterator[str]:
    with open_regular_text(path, newline="") as file:
        first = file.readline().removeprefix(BYTE_ORDER_MARK)
        if "\0" in first or first[:2] == "PK":
            raise DataError(f"{where} is not text; save it as CSV UTF-8")
        delimiter = max(",;\t|", key=first.count)
        headings = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        if not headings:
            raise DataError(f"{where} is empty; write one path per line, after a first line such as image")
        column = headings.index(find_image_column(headings, where))
        try:
            for cells in csv.reader(file, delimiter=delimiter, strict=True):
                if cells:
                    yield from_cell(cells[column]) if column < len(cells) else ""
        except csv.Error as error:
            raise DataError(f"{where} is not valid CSV ({error}); save it as CSV UTF-8") from None


def _parquet_cells(path: Path, where: str) -> Iterator[str]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with open_regular(path) as opened, parquet.ParquetFile(opened) as file:
            column = find_image_column(file.schema_arrow.names, where)
            kind = file.schema_arrow.field(column).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
                raise DataError(
                    f"{where}: the column {escape_name(column, 40)} holds {escape_name(str(kind), 40)}; give paths"
                )
            for batch in file.iter_batches(columns=[column]):
                yield from map(_text, batch.column(0).to_pylist())
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{where} cannot be read as Parquet ({escape_name(str(error))})") from None


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)
