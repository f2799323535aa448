"""Read regular files only, and write files that exist only when they are complete: fsynced, then renamed."""

import csv
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any

from firstlight.disk import writing
from firstlight.unfinished import sweep, unfinished_beside

FORMULA = re.compile(r"'*[=+\-@\t\r]")  # how text begins that a spreadsheet runs, or that stands for such text
# What steers a terminal that shows a file: control characters besides tabs and line ends, and turns of direction.
CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_STEERS = re.compile(rf"\A\$'|[{CONTROLS}]")  # or looks like text that was made harmless
_ONE_LINE = json.JSONEncoder(allow_nan=False)
# How a table or a text for people begins: neither as a page, nor as JSON or TOML, nor as bytes.
PLAIN_TEXT = r"(?![<{\[])[^\0-\x08]+\Z"
WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file to read its bytes; never wait for a pipe, and never open a device, which may be endless.

    Raises:
        OSError: if there is no such file, it cannot be opened, or it is anything but a regular file; `strerror` is the
            reason in words, such as `it is a named pipe, not a file`.
    """
    try:
        _require_regular(os.stat(path).st_mode, path)  # noqa: PTH116 - names that are no valid Unicode pass as they are
        descriptor = os.open(path, os.O_RDONLY | WITHOUT_WAITING)
    except FileNotFoundError as error:
        reason = dangling(Path(path)) or error.strerror
        raise FileNotFoundError(errno.ENOENT, reason, os.fspath(path)) from None
    except ValueError:  # a zero byte, or half of a character
        raise OSError(errno.EINVAL, "this is not a possible file name", os.fspath(path)) from None
    file = os.fdopen(descriptor, "rb")
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)  # it may have been exchanged in between
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: str | Path) -> bytes:
    """Return all bytes of a regular file; fails as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def open_regular_text(path: str | Path, newline: str | None = None) -> TextIOWrapper:
    """Open a regular file to read text as `write_text` writes it; bytes that are not UTF-8 are kept.

    Args:
        path: of the file.
        newline: as for `open`: by default line ends become line feeds; "" leaves them to the reader of a table.

    Raises:
        OSError: as `open_regular`.
    """
    return TextIOWrapper(open_regular(path), "utf-8", "surrogateescape", newline)


def read_regular_text(path: str | Path) -> str:
    """Return all text of a regular file; opened as by `open_regular_text`."""
    with open_regular_text(path) as file:
        return file.read()


def begins_as(path: Path, pattern: str) -> bool:
    """Return whether a file may be replaced by one like it: it begins as a regular expression says, or is empty.

    A file that does not exist, or cannot be read, may be replaced, too: nothing in it is lost that anybody can read.
    """
    try:
        with open_regular(path) as file:
            head = file.read(4096)
    except OSError:
        return True
    return not head or re.match(pattern.encode(), head, re.IGNORECASE | re.DOTALL) is not None


def dangling(path: Path) -> str:
    """Return `it is a link to TARGET, which does not exist`, if that is so; else nothing."""
    try:
        return (
            "" if path.exists() or not path.is_symlink() else f"it is a link to {path.readlink()}, which does not exist"
        )
    except OSError:
        return ""


def _require_regular(mode: int, path: str | Path) -> None:
    """Raise an `OSError` that says what this is, unless it is a regular file."""
    if stat.S_ISREG(mode):
        return
    kinds = (
        (stat.S_ISDIR, errno.EISDIR, "a folder"),
        (stat.S_ISFIFO, errno.EINVAL, "a named pipe"),
        (stat.S_ISSOCK, errno.EINVAL, "a socket"),
    )
    code, kind = next(((code, kind) for is_kind, code, kind in kinds if is_kind(mode)), (errno.EINVAL, "a device"))
    raise OSError(code, f"it is {kind}, not a file", os.fspath(path))


@contextmanager
def atomic_path(path: Path, advice: str = "") -> Iterator[Path]:
    """Yield a temporary file name beside `path`; on success it becomes `path`, on failure it is removed.

    What killed processes left unfinished in that folder is removed, too.

    Args:
        path: of the file.
        advice: what to do if it cannot be written, besides what the reason suggests.

    Raises:
        WriteError: if the folder cannot be written or the disk is full; an earlier file at `path` then stays as it was.
    """
    sweep(path.parent)
    temporary = unfinished_beside(path)
    try:
        with writing(path, advice):
            temporary.touch()
            permissions = temporary.stat().st_mode  # as the user's umask sets them; some writers set stricter ones
            yield temporary
            temporary.chmod(permissions)
            with temporary.open("r+b") as written:  # Windows syncs only files open for writing
                os.fsync(written.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path, advice: str = "") -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it becomes `path`, on failure it is removed.

    If another process has made `path` in the meantime, its folder is kept and this one is removed: both hold the same.

    Args:
        path: of the folder.
        advice: what to do if it cannot be written, besides what the reason suggests.

    Raises:
        WriteError: if it cannot be written.
    """
    sweep(path.parent)
    temporary = unfinished_beside(path)
    try:
        with writing(path, advice):
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.iterdir():
                with file.open("r+b") as written:
                    os.fsync(written.fileno())
            try:
                temporary.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
            _sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically; file names that are not valid Unicode keep their bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; a list or object that holds no other takes one line."""
    write_text(path, _json_lines(value, "\n") + "\n")


def write_csv(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    """Write rows as comma-separated values, atomically, encoded as by `write_text`."""
    with atomic_path(path) as temporary, open_csv(temporary) as write_row:
        for row in rows:
            write_row(row)


@contextmanager
def open_csv(path: Path) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Yield a function that writes one row; any name can be read back, even one that contains line ends.

    Text that a spreadsheet would run as a formula, or that would steer a terminal, is made harmless by `to_cell`, and
    comes back by `from_cell`.
    """
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        plain = csv.writer(file, lineterminator="\n")
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

        def write_row(row: Iterable[Any]) -> None:
            # note: a lone carriage return ends a row for readers, but Python before 3.13 does not quote it
            cells = [to_cell(value) if isinstance(value, str) else value for value in row]
            (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)

        yield write_row


def to_cell(text: str) -> str:
    """Return text for a cell of a table: with an apostrophe in front if a spreadsheet would run it as a formula.

    Text that would steer a terminal is written as shells write it, between `$'` and `'`, with codes.
    """
    if _STEERS.search(text):
        return "$'" + re.sub(rf"[\\{CONTROLS}]", _code, text) + "'"
    return f"'{text}" if FORMULA.match(text) else text


def from_cell(cell: str) -> str:
    """Return the text that `to_cell` made this of."""
    if cell.startswith("$'") and cell.endswith("'"):
        return re.sub(r"\\(\\|u[0-9a-f]{4})", _of_code, cell[2:-1])
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _code(found: re.Match[str]) -> str:
    return "\\\\" if found[0] == "\\" else f"\\u{ord(found[0]):04x}"


def _of_code(found: re.Match[str]) -> str:
    return "\\" if found[1] == "\\" else chr(int(found[1][1:], 16))


def expand_user(path: str | Path) -> Path:
    """Return a path with a leading `~` replaced by the home folder; unchanged where there is no such folder."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where there is none


def _json_lines(value: Any, line_end: str) -> str:
    """Return a value as JSON whose lines begin with what follows the line feed in `line_end`."""
    items = list(value.values() if isinstance(value, dict) else value) if isinstance(value, dict | list | tuple) else []
    if not any(isinstance(item, dict | list | tuple) for item in items):
        return _ONE_LINE.encode(value)
    deeper = line_end + "  "
    lines = [_json_lines(item, deeper) for item in items]
    if isinstance(value, dict):
        keys = (json.dumps(str(key)) for key in value)
        lines = [f"{key}: {line}" for key, line in zip(keys, lines, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + deeper + f",{deeper}".join(lines) + line_end + closing


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system lets a folder be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
