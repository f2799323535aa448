"""Read the rows of a Parquet list, which may hold the picture files themselves, as on the Hugging Face hub."""

import bisect
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from firstlight.data.image_sources import remembered_key
from firstlight.data.sources.columns import find_columns, label_word
from firstlight.errors import DataError, ImageError
from firstlight.escaping import escape_name
from firstlight.files import open_regular, read_regular

KEPT_ROW_GROUPS = 4  # of pictures, in memory; threads read one after another

Cells = dict[str, str]


class ParquetRows:
    """The rows of a Parquet list.

    Args:
        path: of the file.
        where: its name for messages.
        image_column: the heading of the images, if the user names it.
        label_column: the heading of the labels, if the user names it.

    Attributes:
        columns: which columns hold what.
        holds_pictures: whether the column of images holds files; then its cells are their names, which may be empty.

    Raises:
        DataError: if the file is damaged, or a column is missing or has the wrong type.
    """

    def __init__(
        self, path: Path, where: str, *, image_column: str | None = None, label_column: str | None = None
    ) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._path, self._where = path, where
        try:
            open_regular(path).close()  # pyarrow would wait for a pipe
            self._file = parquet.ParquetFile(path)
            schema = self._file.schema_arrow
            features = _hub_features(schema)
            self.columns = find_columns(
                list(schema.names),
                where,
                image_column=image_column or _only_of_type(features, "Image"),
                label_column=label_column or _only_of_type(features, "ClassLabel"),
            )
            class_names = features.get(self.columns.label, {}).get("names")
            self._class_names = class_names if isinstance(class_names, list) else None
            kind = schema.field(self.columns.image).type
            self._nested = _is_table_of_files(kind)
            self.holds_pictures = self._nested or _is_binary(kind)
            self._refuse_unreadable(schema, where)
            self._table = self._file.read(self._wanted())
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = escape_name(getattr(error, "strerror", None) or str(error))
            raise DataError(f"{where} cannot be read as Parquet ({reason}); write it again") from error

    def __iter__(self) -> Iterator[tuple[str, Cells]]:
        """Yield each row: its place for messages, such as `row 17`, and its cells as text."""
        for number, row in enumerate(self._rows(), 1):
            cells = {name: label_word(cell) for name, cell in row.items() if not isinstance(cell, dict)}
            name = row.get(self.columns.image)
            cells[self.columns.image] = str((name or {}).get("path") or "") if self._nested else str(name or "")
            cells[self.columns.label] = self._class_of(row[self.columns.label])
            yield f"row {number}", cells

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            for batch in self._table.to_batches():
                yield from batch.to_pylist()
        except UnicodeDecodeError:
            raise DataError(
                f"{self._where}: a text in it is not UTF-8, so the file is damaged; write it again"
            ) from None

    def pictures(self, names: tuple[str, ...]) -> "ParquetImages":
        """Return the pictures that are in the file."""
        return ParquetImages(self._path, self._file, self.columns.image, names)

    def _wanted(self) -> list[str]:
        columns = self.columns
        images = [f"{columns.image}.path"] if self._nested else [] if self.holds_pictures else [columns.image]
        return [*images, *(name for name in (columns.label, columns.split, columns.group) if name)]

    def _class_of(self, cell: Any) -> str:
        word = label_word(cell)
        if self._class_names is None or not isinstance(cell, int):
            return word
        return str(self._class_names[cell]) if 0 <= cell < len(self._class_names) else ""

    def _refuse_unreadable(self, schema: Any, where: str) -> None:
        import pyarrow as pa

        columns = self.columns
        for name in (columns.image, columns.label, columns.split, columns.group):
            if name is None or (name == columns.image and self.holds_pictures):
                continue
            kind = schema.field(name).type
            if pa.types.is_nested(kind) or _is_binary(kind):
                wanted = "text, or the files of the pictures" if name == columns.image else "text or numbers"
                raise DataError(f"{where}: the column {name} holds {escape_name(str(kind), 60)}; it must hold {wanted}")


class ParquetImages:
    """Picture files inside a Parquet file, read by groups of rows; thread-safe."""

    def __init__(self, path: Path, file: Any, column: str, names: tuple[str, ...]) -> None:
        self._path, self._file, self._column, self._names = path, file, column, names
        counts = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self._starts = [sum(counts[:group]) for group in range(len(counts))]
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> bytes:
        """Return the bytes of one picture."""
        import pyarrow as pa

        group = bisect.bisect_right(self._starts, index) - 1
        try:
            cell = self._group(group)[index - self._starts[group]].as_py()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ImageError(f"the Parquet file is damaged here: {escape_name(str(error))}") from error
        if isinstance(cell, dict):
            cell = cell.get("bytes") if cell.get("bytes") is not None else self._beside(cell.get("path"))
        if cell is None:
            raise ImageError("the row holds no picture")
        return bytes(cell)

    def content_key(self) -> str:
        """Return a hash of the file; from the second call on only its times are read."""
        return remembered_key([f"{self._path.name}:{self._column}"], [self._path], self._hash_file)

    def _hash_file(self) -> str:
        with open_regular(self._path) as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20))
        digest.update(self._column.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _group(self, group: int) -> Any:
        """Return the pictures of a group of rows, the latest of which are kept."""
        with self._lock:
            if group not in self._groups:
                self._groups[group] = self._file.read_row_group(group, [self._column]).column(0)
                while len(self._groups) > KEPT_ROW_GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            return self._groups[group]

    def _beside(self, name: str | None) -> bytes | None:
        """Return a file that the row only names."""
        try:
            return read_regular(Path(self._path.parent, name)) if name else None
        except OSError as error:
            raise ImageError(f"the file {escape_name(str(name))} cannot be read: {error.strerror}") from error


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _is_table_of_files(kind: Any) -> bool:
    """Return whether a column of this type holds `bytes` and `path` of pictures."""
    from pyarrow import types

    return bool(types.is_struct(kind)) and {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)}


def _hub_features(schema: Any) -> dict[str, Any]:
    """Return what the Hugging Face hub's own metadata says about each column; nothing if there is none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return {name: about for name, about in features.items() if isinstance(about, dict)}


def _only_of_type(features: dict[str, Any], kind: str) -> str | None:
    """Return the one column that the metadata says holds images, or classes; None if there is none or several."""
    names = [name for name, about in features.items() if about.get("_type") == kind]
    return names[0] if len(names) == 1 else None
