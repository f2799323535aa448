"""Write down a list of images once, one line for each, so that it needs no memory however long it is.

A line is JSON: the path of a file as text; of an image in an archive or in shards, `[name, archive, index]`; of what
cannot be listed, `[name, reason]`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

from firstlight.errors import DataError, ImageError
from firstlight.files import atomic_path
from firstlight.inference.inputs import Archived, Images, Item, open_inside

SMALLEST, LARGEST = 64, 2048  # images of a block
MOST_BLOCKS_OF_A_SHORT_LIST = 64
_Opened = tuple[Sequence[str], Images]
CHANGED = "the archive has changed since the pictures were listed"


@dataclass(frozen=True, slots=True)
class Listed:
    """A list that is written down.

    Attributes:
        file: with one line for each image.
        images: how many there are.
        digest: of all lines, hex.
    """

    file: Path
    images: int
    digest: str


@dataclass(frozen=True, slots=True)
class Block:
    """Some images that are next to each other in a list, and belong into one part of the answers.

    Attributes:
        number: of the block, from 0.
        start: where its first line begins in the file of the list, in bytes.
        stop: where its last line ends.
        images: how many there are.
        digest: of its lines, hex.
    """

    number: int
    start: int
    stop: int
    images: int
    digest: str

    def to_json(self) -> str:
        """Return it in one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return what `to_json` wrote."""
        return cls(**json.loads(line))


def write_list(items: Iterable[Item], file: Path) -> Listed:
    """Write down every image, in order, and return how many there are.

    Raises:
        DataError: if an image is no file and is in no archive.
        WriteError: if the list cannot be written.
    """
    digest, count = hashlib.blake2b(digest_size=16), 0
    with atomic_path(file) as temporary, temporary.open("wb") as written:
        for item in items:
            line = (json.dumps(_entry(item)) + "\n").encode("ascii")
            written.write(line)
            digest.update(line)
            count += 1
    return Listed(file, count, digest.hexdigest())


def block_size(images: int) -> int:
    """Return how many images a block of a list of this length holds: it does not depend on who works on it."""
    return min(LARGEST, max(SMALLEST, -(-images // MOST_BLOCKS_OF_A_SHORT_LIST)))


def blocks_of(listed: Listed) -> Iterator[Block]:
    """Yield the blocks of a list, in order."""
    size, start, number = block_size(listed.images), 0, 0
    with listed.file.open("rb") as lines:
        while block := list(islice(lines, size)):
            stop = start + sum(map(len, block))
            yield Block(number, start, stop, len(block), _digest(b"".join(block)))
            start, number = stop, number + 1


class Reader:
    """Reads the images of blocks; the last archive, or folder of shards, is kept open."""

    def __init__(self) -> None:
        self._archive: tuple[str, _Opened | str] | None = None

    def items(self, file: Path, block: Block) -> list[Item]:
        """Return the images of a block, as they were written down.

        Raises:
            DataError: if the list is another one by now.
        """
        with file.open("rb") as lines:
            lines.seek(block.start)
            data = lines.read(block.stop - block.start)
        if _digest(data) != block.digest:
            raise DataError("the list of pictures has changed meanwhile; start again")
        return [self._item(json.loads(line)) for line in data.splitlines()]

    def _item(self, entry: Any) -> Item:
        if isinstance(entry, str):
            return Item(entry, entry)
        name, *where = entry
        if len(where) == 1:
            return Item(ImageError(where[0]), name)
        archive, index = where
        opened = self._opened(archive)
        if isinstance(opened, str):
            return Item(ImageError(opened), name)
        names, images = opened
        if index >= len(names) or f"{archive}/{names[index]}" != name:
            return Item(ImageError(CHANGED), name)
        return Item(Archived(images, index, archive), name)

    def _opened(self, archive: str) -> _Opened | str:
        if self._archive is None or self._archive[0] != archive:
            try:
                self._archive = archive, open_inside(archive)
            except (DataError, OSError) as error:
                self._archive = archive, str(error)
        return self._archive[1]


def _digest(lines: bytes) -> str:
    return hashlib.blake2b(lines, digest_size=16).hexdigest()


def _entry(item: Item) -> str | list[str | int | None]:
    content, name = item.content, item.name
    if isinstance(content, str):
        return content
    if isinstance(content, Archived):
        return [name, content.file, content.index]
    if isinstance(content, ImageError):
        return [name, str(content)]
    raise DataError("the ray engine reads files; give paths of pictures, folders, archives or lists")
