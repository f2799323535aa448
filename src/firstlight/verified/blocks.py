"""Digests of the blocks of a file: XXH3 of each 64 KiB."""

import os
from collections.abc import Iterable
from typing import BinaryIO

import xxhash

BLOCK_BYTES = 2**16
_DIGITS = 16  # hex digits of a digest


class DamagedError(Exception):
    """A file in the cache is not as it was written; the message says which, and why."""


class DigestingFile:
    """A file that is written from its start to its end; takes the digests of its blocks on the way.

    Attributes:
        count: bytes so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._whole: list[str] = []
        self._last = xxhash.xxh3_64()
        self.count = 0

    def write(self, data: "bytes | memoryview") -> int:
        """Write bytes, or the bytes of a contiguous array."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        done = 0
        while done < len(view):
            filled = self.count % BLOCK_BYTES
            piece = view[done : done + BLOCK_BYTES - filled]
            if len(piece) == BLOCK_BYTES:
                self._whole.append(xxhash.xxh3_64_hexdigest(piece))
            else:
                self._last.update(piece)
                if filled + len(piece) == BLOCK_BYTES:
                    self._whole.append(self._last.hexdigest())
                    self._last.reset()
            done += len(piece)
            self.count += len(piece)
        return len(view)

    def digests(self) -> str:
        """Return the digests of all blocks, one after another, as hex digits."""
        return "".join(self._whole) + (self._last.hexdigest() if self.count % BLOCK_BYTES else "")


class Blocks:
    """What the blocks of a file have to be.

    Args:
        count: bytes of the file.
        digests: see `DigestingFile.digests`.

    Raises:
        ValueError: if these do not fit each other.
    """

    def __init__(self, count: int, digests: str) -> None:
        self.count, self._digests = count, digests
        if len(digests) != len(self) * _DIGITS:
            raise ValueError("there is not one digest for each block")

    def __len__(self) -> int:
        return (self.count + BLOCK_BYTES - 1) // BLOCK_BYTES

    def require_all(self, file: BinaryIO, name: str) -> None:
        """Compare a whole file, which is read from its start; as `require` does."""
        buffer = memoryview(bytearray(BLOCK_BYTES))
        file.seek(0)
        for block in range(len(self)):
            # note: not mapped into memory, where a sector that cannot be read would end the process
            self._compare(block, buffer[: file.readinto(buffer)], name)  # type: ignore[attr-defined]
        if file.read(1):
            raise DamagedError(f"{name} is longer than it was")

    def require(self, file: BinaryIO, name: str, blocks: Iterable[int]) -> None:
        """Compare some blocks of a file; its position does not matter, so that threads may share it.

        Raises:
            DamagedError: if one is not as it was written.
            OSError: if the file cannot be read.
        """
        for block in blocks:
            content = os.pread(file.fileno(), BLOCK_BYTES, block * BLOCK_BYTES)
            self._compare(block, memoryview(content), name)

    def _compare(self, block: int, content: memoryview, name: str) -> None:
        start = block * BLOCK_BYTES
        if len(content) < min(BLOCK_BYTES, self.count - start):
            raise DamagedError(f"{name} is cut off at byte {start + len(content):,}")
        if xxhash.xxh3_64_hexdigest(content) != self._digests[block * _DIGITS : (block + 1) * _DIGITS]:
            raise DamagedError(f"{name} differs from what was written, from byte {start:,} on")
