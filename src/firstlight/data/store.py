"""The store: every image decoded once, brought to one size, kept as uint8 in a memory-mapped file.

The file lives in a cache folder named by what it holds: the images' content, the size and the fit. Packing into a
temporary folder that is renamed at the end leaves nothing half-made, however it is interrupted.
"""

import errno
import hashlib
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray

from firstlight.data.duplicates import FINGERPRINT, Duplicates, find_duplicates, fingerprints, told_apart
from firstlight.data.images import MAX_PIXELS, DecodedImage, resize_image
from firstlight.data.parallel import in_order
from firstlight.data.reading import Reading, fingerprint_into, read_sample, refine_faint, whole_fingerprint
from firstlight.data.samples import ArrayImages, Samples
from firstlight.errors import DataError
from firstlight.files import atomic_folder, cache_folder
from firstlight.progress import progress
from firstlight.resize import parse_resize
from firstlight.runtime.processors import default_workers

Pixels = NDArray[np.uint8]
Size = tuple[int, int, int] | int | None

CACHE_VERSION = 3  # counts up when decoding, fitting or finding copies gives another answer
CHUNK = 128  # images that a worker takes at a time, or fewer, so that all workers' packed images take about
CHUNK_BYTES = 2**25  # so much memory, and as much again while they wait to be written
SIZE_SAMPLE_IMAGES = 64  # images looked at to choose a size
SMALLEST_DECODE_SIZE = (1, 1, 1)  # they are decoded as small as may be
BATCHED_BYTES = 2**16  # images of no more, and all alike, are fingerprinted together
USUAL_SIDE = 64  # of images that are large or not all alike, where the model has no wish of its own
SMALL_SIDE = 64  # images no larger than this, and all alike, keep their own size
FREE_DISK_FACTOR = 1.1


@dataclass(frozen=True)
class Store:
    """Packed images and what decoding them told; rows are aligned with `Samples`.

    Attributes:
        content_key: hex digits that stay the same as long as the images, their names and their order do.
        pixels: uint8 `[N, H, W, C]`, memory-mapped; rows of quarantined images are black and never used.
        quarantined: why each unusable image cannot be used, by row.
        duplicates: rows whose images are the same, exactly or nearly.
        sizes: how many images have which `height x width`.
        modes: how many images have which file mode (`RGB`, `L`, `I;16` ...).
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
        """Channels, height and width of every packed image."""
        _, height, width, channels = self.pixels.shape
        return channels, height, width

    @property
    def usable(self) -> NDArray[np.int64]:
        """The rows that are not quarantined, in order."""
        return np.setdiff1d(np.arange(len(self.pixels)), list(self.quarantined)).astype(np.int64)


@dataclass(frozen=True)
class _Wish:
    """What is wanted of packed images; see `pack`."""

    size: Size
    usual: int
    resize: str
    max_pixels: int


class _WrongGuessError(Exception):
    """An image is not like those that the size was guessed from; `better` is the guess that takes it in."""

    def __init__(self, better: tuple[int, int, int]) -> None:
        super().__init__(better)
        self.better = better


def pack(
    samples: Samples,
    size: Size = None,
    *,
    usual: int = USUAL_SIDE,
    resize: str = "crop",
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Store:
    """Decode every image once, or find that it has been done before.

    Args:
        samples: where the images are.
        size: what to bring them to: channels, height and width; or the side of a square, gray if all images are;
            or None: images that are all alike and no larger than 64 pixels keep their own size, others take `usual`.
        usual: the side of the square where none is asked for.
        fit: `crop`, `crop:SHARE`, `pad` or `squash`; see `images.fit_picture`.
        workers: decoding threads; the bytes that come out do not depend on it.
        max_pixels: an image of more is not decoded but quarantined.

    Raises:
        DataError: if the disk has no room for the packed images.
        RecipeError: if there is no such `fit`.
    """
    _, fraction = parse_resize(resize)
    wish = _Wish(size, usual, resize, max_pixels)
    images = _stacked(samples)
    own_size = (
        images is not None and fraction == 1 and _guess_size(samples, wish) == (images.shape[3], *images.shape[1:3])
    )
    key = samples.images.content_key()
    wanted = (CACHE_VERSION, PIL.__version__, simplejpeg.__version__, key, own_size or wish)
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
    """Pack at the size guessed from some images; begin anew if another one shows that the guess was wrong."""
    guess = _guess_size(samples, wish)
    while True:
        try:
            return _pack_into(folder, samples, wish, guess, workers)
        except _WrongGuessError as wrong:
            guess = wrong.better


def _guess_size(samples: Samples, wish: _Wish) -> tuple[int, int, int]:
    """Guess channels, height and width for a set from some of its images."""
    if isinstance(wish.size, tuple):
        return wish.size
    images = _stacked(samples)
    if images is not None:
        shapes = {images.shape[1:]}
    else:
        rows = np.unique(np.linspace(0, len(samples) - 1, SIZE_SAMPLE_IMAGES).astype(int)).tolist()
        seen = [read_sample(samples, row, wish.max_pixels, SMALLEST_DECODE_SIZE).image for row in rows]
        shapes = {(*image.size, image.pixels.shape[2]) for image in seen if image}
    channels = max((shape[2] for shape in shapes), default=3)
    sizes = {shape[:2] for shape in shapes}
    if wish.size is None and len(sizes) == 1 and max(alike := sizes.pop()) <= SMALL_SIDE:
        return channels, *alike
    return channels, wish.size or wish.usual, wish.size or wish.usual


def _take_in(image: DecodedImage, guess: tuple[int, int, int], wish: _Wish) -> tuple[int, int, int]:
    """Give the guess that also fits this image: color is never thrown away, and sizes differ or are all alike."""
    if isinstance(wish.size, tuple):
        return wish.size
    channels, height, width = max(guess[0], image.pixels.shape[2]), *guess[1:]
    if wish.size is None and max(height, width) <= SMALL_SIDE and image.size != (height, width):
        height, width = wish.usual, wish.usual
    return channels, height, width


def _stacked(samples: Samples) -> NDArray[np.uint8] | None:
    """The images as one array, uint8 `[N, H, W, C]`, where they are one already."""
    return samples.images.images if isinstance(samples.images, ArrayImages) else None


def _examine(images: NDArray[np.uint8], folder: Path) -> None:
    """Arrays that have the right size already are used as they are; only their facts are kept."""
    count, height, width, channels = images.shape
    facts = _Facts(
        prints=fingerprints(images),
        sizes=Counter({f"{height}x{width}": count}),
        modes=Counter({"L" if channels == 1 else "RGB": count}),
    )
    facts.write(folder, facts.duplicates())


def _pack_into(folder: Path, samples: Samples, wish: _Wish, input_size: tuple[int, int, int], workers: int) -> None:
    """Decode every image, bring it to `input_size`, and keep it with what it told.

    Raises:
        _WrongGuessError: if an image shows that `input_size` is not what was wished for.
    """
    count, (channels, height, width) = len(samples.labels), input_size
    needed = count * channels * height * width
    if needed * FREE_DISK_FACTOR > shutil.disk_usage(folder).free:
        raise _no_room(samples, needed)
    facts = _Facts(prints=np.zeros(count, FINGERPRINT))

    def work(rows: range) -> tuple[Pixels, list[Reading]]:
        block = np.zeros((len(rows), height, width, channels), np.uint8)
        readings, small = [], {}
        for row, place in zip(rows, block, strict=True):
            reading = read_sample(samples, row, wish.max_pixels, input_size, wish.resize)
            if reading.image is not None:
                place[:] = _resized(reading.image, input_size, wish)
                if reading.image.pixels.size <= BATCHED_BYTES:
                    small[row] = reading
                else:
                    fingerprint_into(facts.prints, {row: reading})
            readings.append(reading.without_pixels())
        fingerprint_into(facts.prints, small)
        refine_faint(samples, rows, facts.prints, wish.max_pixels)
        return block, readings

    step = max(1, min(CHUNK, CHUNK_BYTES // (workers * height * width * channels)))
    chunks = [range(start, min(start + step, count)) for start in range(0, count, step)]
    with (
        _room_for(samples, needed),
        (folder / "pixels.npy").open("wb") as file,
        progress("packing pictures", count) as advance,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, height, width, channels)}
        np.lib.format.write_array_header_1_0(file, header)
        for rows, (block, readings) in zip(chunks, in_order(work, chunks, workers), strict=True):
            file.write(block.data)  # note: a memory map would be slower, and a full disk would kill the process
            for row, reading in zip(rows, readings, strict=True):
                facts.note(row, reading)
            advance(len(rows))
    facts.write(folder, _told_apart(samples, facts, wish.max_pixels, workers))


@contextmanager
def _room_for(samples: Samples, needed: int) -> Iterator[None]:
    """Say what to do if the disk turns out to be full on the way."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(samples, needed) from error
        raise


def _no_room(samples: Samples, needed: int) -> DataError:
    free = shutil.disk_usage(cache_folder()).free
    return DataError(
        f"{samples.source}: packing needs {needed / 1e9:.1f} GB in the cache and {free / 1e9:.1f} GB are free; "
        f"take a smaller --img-size, or set FIRSTLIGHT_CACHE to a folder on a larger disk"
    )


def _resized(image: DecodedImage, input_size: tuple[int, int, int], wish: _Wish) -> Pixels:
    if (better := _take_in(image, input_size, wish)) != input_size:
        raise _WrongGuessError(better)
    return resize_image(image.pixels, input_size, wish.resize)


def _told_apart(samples: Samples, facts: "_Facts", max_pixels: int, workers: int) -> Duplicates:
    """Find the copies, and look at all pixels of those whose files differ: they may be equal all the same."""
    found = facts.duplicates()
    if _stacked(samples) is not None:
        return found
    near = list(itertools.chain(*found.near))
    whole = in_order(lambda row: whole_fingerprint(samples, row, facts.prints[row], max_pixels), near, workers)
    return told_apart(found, {row: seen["digest"].tobytes() for row, seen in zip(near, whole, strict=True)})


@dataclass
class _Facts:
    """What is learned while images are decoded."""

    prints: NDArray[np.void]
    quarantined: dict[int, str] = field(default_factory=dict)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    notes: dict[str, list[int]] = field(default_factory=dict)

    def note(self, row: int, reading: Reading) -> None:
        if (image := reading.image) is None:
            self.quarantined[row] = reading.reason
            return
        height, width = image.size
        self.sizes[f"{height}x{width}"] += 1
        self.modes[image.mode] += 1
        for text in image.notes:
            self.notes.setdefault(text, []).append(row)

    def duplicates(self) -> Duplicates:
        """Find the copies among the images that are not quarantined."""
        usable = np.setdiff1d(np.arange(len(self.prints)), list(self.quarantined)).astype(np.int64)
        found = find_duplicates(self.prints[usable])
        return Duplicates(*([usable[group].tolist() for group in groups] for groups in (found.exact, found.near)))

    def write(self, folder: Path, duplicates: Duplicates) -> None:
        facts = {
            "quarantined": self.quarantined,
            "duplicates": asdict(duplicates),
            "sizes": dict(self.sizes.most_common()),
            "modes": dict(self.modes.most_common()),
            "notes": self.notes,
        }
        (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
