"""Read the rows of a CSV list from any program: with any separator, and Excel's own first line."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from firstlight.data.sources.columns import Columns, find_columns
from firstlight.errors import DataError
from firstlight.files import read_regular

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # which Excel and LibreOffice read and write


def csv_rows(
    path: Path, where: str, *, image_column: str | None = None, label_column: str | None = None
) -> tuple[Columns, Iterator[tuple[str, dict[str, str]]]]:
    """Return which columns hold what, and each row: its place for messages, such as `line 17`, and its cells.

    File names need not be valid Unicode: their bytes are kept as by `os.fsdecode`.

    Raises:
        DataError: if it is not text, not valid CSV, or lacks a column; later, if a row has too many or too few cells.
    """
    text = _text(path, where)
    first = _SEPARATOR_LINE.match(text)
    skipped = 0 if first is None else 1
    text = text[first.end() :] if first else text
    heading = text.lstrip("\r\n").partition("\n")[0]
    delimiter = first[1] if first else max(",;\t|", key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def lines() -> Iterator[tuple[int, list[str]]]:
        try:
            for cells in reader:
                if any(map(str.strip, cells)):
                    yield reader.line_num + skipped, cells
        except csv.Error as error:
            raise DataError(f"{where} line {reader.line_num + skipped}: not valid CSV ({error})") from error

    every_line = lines()
    headings = [name.strip() for name in next(every_line, (0, []))[1]]
    if not headings:
        raise DataError(f"{where} is empty; write one line for each picture, after a first line such as image,label")
    columns = find_columns(headings, where, image_column=image_column, label_column=label_column)

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        for number, cells in every_line:
            if len(cells) != len(headings):
                raise DataError(
                    f"{where} line {number}: {len(cells)} cell{'s' * (len(cells) != 1)}, but the first line has "
                    f"{len(headings)} columns; "
                    "quote cells that contain the separator"
                )
            yield f"line {number}", dict(zip(headings, cells, strict=True))

    return columns, rows()


def _text(path: Path, where: str) -> str:
    data = read_regular(path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{where} is UTF-16, not UTF-8; save it as CSV UTF-8")
    if data[:2] == b"PK" or data[:4] == b"\xd0\xcf\x11\xe0":
        raise DataError(f"{where} is a workbook or an archive, not text; save it as CSV UTF-8")
    if b"\0" in data:
        raise DataError(f"{where} is not text: it holds zero bytes; save it as CSV UTF-8")
    return data.decode("utf-8-sig", "surrogateescape")
