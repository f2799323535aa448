"""Write and read a folder whose files are compared with digests of their blocks."""

import errno
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.files import open_regular
from firstlight.verified.blocks import Blocks, DamagedError, DigestingFile
from firstlight.verified.rows import CheckedRows

DIGESTS_FILE = "blocks.json"
# Reasons why a file cannot be read now that say nothing about what it holds.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)


class VerifiedWriter:
    """Writes the files of a new folder, and takes their digests on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, DigestingFile] = {}

    @contextmanager
    def open(self, name: str) -> Iterator[DigestingFile]:
        """Yield a new file to which bytes can be written; an earlier one of that name is forgotten."""
        with (self.folder / name).open("wb") as file:
            self._files[name] = DigestingFile(file)
            yield self._files[name]

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file."""
        with self.open(name) as file:
            file.write(content)

    def save(self, name: str, array: NDArray[Any]) -> None:
        """Write an array."""
        with self.open(name) as file:
            np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)

    def finish(self, key: str) -> None:
        """Write the digests; `key` is the name that the folder will have."""
        files = {name: {"bytes": file.count, "blocks": file.digests()} for name, file in self._files.items()}
        (self.folder / DIGESTS_FILE).write_text(json.dumps({"key": key, "files": files}), "ascii")


class VerifiedFolder:
    """The files of a folder, each of which is compared with its digests before it is used.

    All of this raises DamagedError if something is not as it was written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            found = json.loads(self._content(DIGESTS_FILE))
            self._blocks = {name: Blocks(int(one["bytes"]), one["blocks"]) for name, one in found["files"].items()}
            fits = found["key"] == folder.name
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DamagedError(f"{DIGESTS_FILE} cannot be understood") from None
        if not fits:
            raise DamagedError("it belongs to something else")

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        content = self._content(name)
        self._blocks_of(name).require_all(io.BytesIO(content), name)
        return content

    def load(self, name: str) -> NDArray[Any]:
        """Return the array in a file, in memory."""
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(self.read(name)), allow_pickle=False)
        return array

    def map(self, name: str) -> NDArray[Any]:
        """Return the array in a file, mapped into memory; all of it is read first."""
        with self._reading(name) as file:
            self._blocks_of(name).require_all(file, name)
            return _mapped(file, self.folder / name)

    def map_lazily(self, name: str, on_damage: Callable[[str], None]) -> CheckedRows:
        """Return the same, compared block by block when rows are used; then, `on_damage` has to raise an error."""
        blocks = self._blocks_of(name)
        with self._reading(name):
            file = open_regular(self.folder / name)  # it stays open as long as the rows are used
            blocks.require(file, name, {0, len(blocks) - 1})  # the first one holds the header
            return CheckedRows(_mapped(file, self.folder / name), file, blocks, on_damage)

    def size(self, name: str) -> int:
        """Return how many bytes a file was written with."""
        return self._blocks_of(name).count

    def _blocks_of(self, name: str) -> Blocks:
        if name not in self._blocks:
            raise DamagedError(f"{name} is not listed in {DIGESTS_FILE}")
        return self._blocks[name]

    def _content(self, name: str) -> bytes:
        with self._reading(name) as file:
            return file.read()

    @contextmanager
    def _reading(self, name: str) -> Iterator[io.BufferedReader]:
        try:
            with open_regular(self.folder / name) as file:
                yield file
        except OSError as error:
            if error.errno in _PASSING:
                raise
            raise DamagedError(f"{name}: {error.strerror}") from None


def _mapped(file: io.BufferedReader, path: Path) -> NDArray[Any]:
    file.seek(0)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    array = np.memmap(file, dtype, mode="r", offset=file.tell(), shape=shape)
    array.filename = str(path)  # it was opened by a number
    return array
