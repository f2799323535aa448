"""The store: every picture decoded once, brought to one size, kept as uint8 in a memory-mapped file.

The file lives in a cache folder named by what it holds: the pictures' content, the size and the fit. Packing into a
temporary folder that is renamed at the end leaves nothing half-made, however it is interrupted.
"""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from firstlight.data.duplicates import FINGERPRINT, Duplicates, find_duplicates, fingerprint, fingerprints
from firstlight.data.images import MAX_PIXELS, Picture, decode, fit_picture
from firstlight.data.parallel import in_order
from firstlight.data.samples import ArrayPictures, Samples
from firstlight.errors import DataError, PictureError
from firstlight.files import atomic_folder, cache_folder
from firstlight.progress import progress
from firstlight.runtime import default_workers

Pixels = NDArray[np.uint8]
Size = tuple[int, int, int] | int | None

CACHE_VERSION = 2  # counts up when decoding, fitting or finding copies gives another answer
CHUNK = 128  # pictures a worker takes at a time
PROBED = 64  # pictures looked at to choose a size
USUAL_SIDE = 64  # of pictures that are large or not all alike, where the model has no wish of its own
SMALL_SIDE = 64  # pictures no larger than this, and all alike, keep their own size
FREE_DISK_FACTOR = 1.1


@dataclass(frozen=True)
class Store:
    """Packed pictures and what decoding them told; rows are aligned with `Samples`.

    Attributes:
        content_key: hex digits that stay the same as long as the pictures, their names and their order do.
        pixels: uint8 `[N, H, W, C]`, memory-mapped; rows of quarantined pictures are black and never used.
        quarantined: why each unusable picture cannot be used, by row.
        duplicates: rows whose pictures are the same, exactly or nearly.
        sizes: how many pictures have which `height x width`.
        modes: how many pictures have which file mode (`RGB`, `L`, `I;16` ...).
        notes: what decoding had to decide, by note: the rows it concerns.
    """

    content_key: str
    pixels: NDArray[np.uint8]
    quarantined: dict[int, str]
    duplicates: Duplicates
    sizes: dict[str, int]
    modes: dict[str, int]
    notes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of every packed picture."""
        _, height, width, channels = self.pixels.shape
        return channels, height, width

    @property
    def usable(self) -> NDArray[np.int64]:
        """The rows that are not quarantined, in order."""
        return np.setdiff1d(np.arange(len(self.pixels)), list(self.quarantined)).astype(np.int64)


@dataclass(frozen=True)
class _Wish:
    """What is wanted of packed pictures; see `pack`."""

    size: Size
    usual: int
    fit: str
    max_pixels: int


class _WrongGuessError(Exception):
    """A picture is not like those that the size was guessed from; `better` is the guess that takes it in."""

    def __init__(self, better: tuple[int, int, int]) -> None:
        super().__init__(better)
        self.better = better


def pack(
    samples: Samples,
    size: Size = None,
    *,
    usual: int = USUAL_SIDE,
    fit: str = "crop",
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Store:
    """Decode every picture once, or find that it has been done before.

    Args:
        samples: where the pictures are.
        size: what to bring them to: channels, height and width; or the side of a square, grey if all pictures are;
            or None: pictures that are all alike and no larger than 64 pixels keep their own size, others take `usual`.
        usual: the side of the square where none is asked for.
        fit: `crop`, `pad` or `squash`.
        workers: decoding threads; the bytes that come out do not depend on it.
        max_pixels: a picture of more is not decoded but quarantined.

    Raises:
        DataError: if the disk has no room for the packed pictures.
    """
    wish = _Wish(size, usual, fit, max_pixels)
    images = _stacked(samples)
    own_size = images is not None and _guess_size(samples, wish) == (images.shape[3], *images.shape[1:3])
    key = samples.pictures.content_key()
    wanted = (CACHE_VERSION, PIL.__version__, key, own_size or wish)
    folder = cache_folder() / "packed" / hashlib.blake2b(repr(wanted).encode(), digest_size=16).hexdigest()
    if (kept := _open(folder, key, images if own_size else None)) is not None:
        return kept
    shutil.rmtree(folder, ignore_errors=True)  # it may be there and damaged
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as unfinished:
        if images is not None and own_size:
            _examine(images, unfinished)
        else:
            _pack_guessing(unfinished, samples, wish, workers or default_workers())
    packed = _open(folder, key, images if own_size else None)
    assert packed is not None, folder
    return packed


def _open(folder: Path, key: str, images: NDArray[np.uint8] | None) -> Store | None:
    """Open what was packed before; nothing if there is nothing, or if the cache was damaged."""
    try:
        facts = json.loads((folder / "facts.json").read_text("utf-8"))
        return Store(
            content_key=key,
            pixels=np.load(folder / "pixels.npy", mmap_mode="r") if images is None else images,
            quarantined={int(row): reason for row, reason in facts["quarantined"].items()},
            duplicates=Duplicates(**facts["duplicates"]),
            sizes=facts["sizes"],
            modes=facts["modes"],
            notes=facts["notes"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _pack_guessing(folder: Path, samples: Samples, wish: _Wish, workers: int) -> None:
    """Pack at the size guessed from some pictures; begin anew if another one shows that the guess was wrong."""
    guess = _guess_size(samples, wish)
    while True:
        try:
            return _pack_into(folder, samples, wish, guess, workers)
        except _WrongGuessError as wrong:
            guess = wrong.better


def _guess_size(samples: Samples, wish: _Wish) -> tuple[int, int, int]:
    """Guess channels, height and width for a set from some of its pictures."""
    if isinstance(wish.size, tuple):
        return wish.size
    images = _stacked(samples)
    if images is not None:
        shapes = {images.shape[1:]}
    else:
        rows = np.unique(np.linspace(0, len(samples) - 1, PROBED).astype(int)).tolist()
        shapes = {picture.pixels.shape for row in rows if (picture := _try_decode(samples, row, wish.max_pixels)[0])}
    channels = max((shape[2] for shape in shapes), default=3)
    sizes = {shape[:2] for shape in shapes}
    if wish.size is None and len(sizes) == 1 and max(alike := sizes.pop()) <= SMALL_SIDE:
        return channels, *alike
    return channels, wish.size or wish.usual, wish.size or wish.usual


def _take_in(picture: Pixels, guess: tuple[int, int, int], wish: _Wish) -> tuple[int, int, int]:
    """Give the guess that also fits this picture: colour is never thrown away, and sizes differ or are all alike."""
    if isinstance(wish.size, tuple):
        return wish.size
    channels, height, width = max(guess[0], picture.shape[2]), *guess[1:]
    if wish.size is None and max(height, width) <= SMALL_SIDE and picture.shape[:2] != (height, width):
        height, width = wish.usual, wish.usual
    return channels, height, width


def _stacked(samples: Samples) -> NDArray[np.uint8] | None:
    """The pictures as one array, uint8 `[N, H, W, C]`, where they are one already."""
    return samples.pictures.images if isinstance(samples.pictures, ArrayPictures) else None


def _examine(images: NDArray[np.uint8], folder: Path) -> None:
    """Arrays that have the right size already are used as they are; only their facts are kept."""
    count, height, width, channels = images.shape
    facts = _Facts(
        prints=fingerprints(images),
        sizes=Counter({f"{height}x{width}": count}),
        modes=Counter({"L" if channels == 1 else "RGB": count}),
    )
    facts.write(folder, np.arange(count))


def _pack_into(folder: Path, samples: Samples, wish: _Wish, input_size: tuple[int, int, int], workers: int) -> None:
    """Decode every picture, bring it to `input_size`, and keep it with what it told.

    Raises:
        _WrongGuessError: if a picture shows that `input_size` is not what was wished for.
    """
    count, (channels, height, width) = len(samples.labels), input_size
    needed, free = count * channels * height * width, shutil.disk_usage(folder).free
    if needed * FREE_DISK_FACTOR > free:
        raise DataError(
            f"{samples.source}: packing needs {needed / 1e9:.1f} GB in the cache and {free / 1e9:.1f} GB are free; "
            f"take a smaller --img-size, or set FIRSTLIGHT_CACHE to a folder on a larger disk"
        )
    pixels = np.lib.format.open_memmap(
        folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=(count, height, width, channels)
    )
    facts = _Facts(prints=np.zeros(count, FINGERPRINT))

    def work(rows: range) -> list[tuple[Picture | None, str]]:
        decoded = [_try_decode(samples, row, wish.max_pixels) for row in rows]
        good = [(row, picture.pixels) for row, (picture, _) in zip(rows, decoded, strict=True) if picture]
        for row, picture in good:
            if (better := _take_in(picture, input_size, wish)) != input_size:
                raise _WrongGuessError(better)
            pixels[row] = fit_picture(picture, input_size, wish.fit)
        _fingerprint_into(facts.prints, good)
        return [(_without_pixels(picture), reason) for picture, reason in decoded]

    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    with progress("packing pictures", count) as advance:
        for rows, results in zip(chunks, in_order(work, chunks, workers), strict=True):
            for row, (picture, reason) in zip(rows, results, strict=True):
                facts.note(row, picture, reason)
            advance(len(rows))
    pixels.flush()
    facts.write(folder, np.array([row for row in range(count) if row not in facts.quarantined], dtype=np.int64))


def _try_decode(samples: Samples, row: int, max_pixels: int) -> tuple[Picture | None, str]:
    try:
        found = samples.pictures.read(row)
        if isinstance(found, np.ndarray):
            return Picture(found, "L" if found.shape[2] == 1 else "RGB", ()), ""
        return decode(found, name=samples.names[row], max_pixels=max_pixels), ""
    except PictureError as reason:
        return None, str(reason)
    except OSError as reason:
        return None, f"cannot be read: {reason.strerror or reason}"


def _without_pixels(picture: Picture | None) -> Picture | None:
    """Keep what a picture told, and its shape, without the memory it took."""
    if picture is None:
        return None
    return Picture(np.broadcast_to(np.uint8(0), picture.pixels.shape), picture.mode, picture.notes)


def _fingerprint_into(prints: NDArray[np.void], pictures: list[tuple[int, NDArray[np.uint8]]]) -> None:
    if len({picture.shape for _, picture in pictures}) == 1:
        rows, stack = zip(*pictures, strict=True)
        prints[list(rows)] = fingerprints(np.stack(stack))
    else:
        for row, picture in pictures:
            prints[row] = fingerprint(picture)


@dataclass
class _Facts:
    """What is learned while pictures are decoded."""

    prints: NDArray[np.void]
    quarantined: dict[int, str] = field(default_factory=dict)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    notes: dict[str, list[int]] = field(default_factory=dict)

    def note(self, row: int, picture: Picture | None, reason: str) -> None:
        if picture is None:
            self.quarantined[row] = reason
            return
        height, width, _ = picture.pixels.shape
        self.sizes[f"{height}x{width}"] += 1
        self.modes[picture.mode] += 1
        for text in picture.notes:
            self.notes.setdefault(text, []).append(row)

    def write(self, folder: Path, usable: NDArray[np.int64]) -> None:
        found = find_duplicates(self.prints[usable])
        facts = {
            "quarantined": self.quarantined,
            "duplicates": {
                "exact": [usable[group].tolist() for group in found.exact],
                "near": [usable[group].tolist() for group in found.near],
            },
            "sizes": dict(self.sizes.most_common()),
            "modes": dict(self.modes.most_common()),
            "notes": self.notes,
        }
        (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
