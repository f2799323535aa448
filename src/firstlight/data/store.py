"""The store: every picture decoded once, brought to one size, kept as uint8 in a memory-mapped file.

The file lives in a cache folder named by what it holds: the pictures' content, the size and the fit. Packing into a
temporary folder that is renamed at the end leaves nothing half-made, however it is interrupted.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates import FINGERPRINT, Duplicates, find_duplicates, fingerprint, fingerprints
from firstlight.data.images import Picture, decode, fit_picture
from firstlight.data.parallel import in_order
from firstlight.data.samples import ArrayPictures, Samples
from firstlight.errors import DataError, PictureError
from firstlight.files import atomic_folder, cache_folder
from firstlight.progress import progress
from firstlight.runtime import default_workers

Pixels = NDArray[np.uint8]

PACK_VERSION = 1  # counts up when packing gives other bytes for the same pictures
CHUNK = 128  # pictures a worker takes at a time
PROBED = 64  # pictures looked at to choose a size
SMALL_SIDE = 64  # pictures no larger than this, and all alike, keep their own size
FREE_DISK_FACTOR = 1.1


@dataclass(frozen=True)
class Store:
    """Packed pictures and what decoding them told; rows are aligned with `Samples`.

    Attributes:
        pixels: uint8 `[N, H, W, C]`, memory-mapped; rows of quarantined pictures are black and never used.
        quarantined: why each unusable picture cannot be used, by row.
        duplicates: rows whose pictures are the same, exactly or nearly.
        sizes: how many pictures have which `height x width`.
        modes: how many pictures have which file mode (`RGB`, `L`, `I;16` ...).
        notes: what decoding had to decide, by note: the rows it concerns.
    """

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


class _ColourFoundError(Exception):
    """A set that looked grey holds a colour picture: it must be packed again, in colour."""


def choose_size(samples: Samples, img_size: int | None, usual: int) -> tuple[int, int, int]:
    """Choose channels, height and width for a set by looking at some of its pictures.

    Args:
        samples: the set.
        img_size: the side the user asked for, or None: pictures that are all alike and no larger than 64 pixels
            keep their own size, others take `usual`.
        usual: the side that suits the model.
    """
    images = _stacked(samples)
    if images is not None:
        shapes, channels = {images.shape[1:3]}, images.shape[3]
    else:
        rows = np.unique(np.linspace(0, len(samples.labels) - 1, PROBED).astype(int))
        seen = [picture for row in rows if (picture := _try_decode(samples, row)[0])]
        shapes = {picture.pixels.shape[:2] for picture in seen}
        channels = max((picture.pixels.shape[2] for picture in seen), default=3)
    if img_size:
        return channels, img_size, img_size
    if len(shapes) == 1 and max(shape := next(iter(shapes))) <= SMALL_SIDE:
        return channels, *shape
    return channels, usual, usual


def pack(
    samples: Samples,
    input_size: tuple[int, int, int],
    fit: str,
    workers: int | None = None,
    *,
    keep_grey: bool = False,
) -> Store:
    """Decode every picture once, or find that it has been done before.

    Args:
        samples: where the pictures are.
        input_size: channels, height and width to bring them to; a single channel becomes three if a colour picture
            is met, since colour is never thrown away unasked.
        fit: `crop`, `pad` or `squash`.
        workers: decoding threads; the bytes that come out do not depend on it.
        keep_grey: turn colour pictures into grey ones where a single channel is wanted, for a model that is so.

    Raises:
        DataError: if the disk has no room for the packed pictures.
    """
    images = _stacked(samples)
    same_size = images is not None and images.shape[1:] == (*input_size[1:], input_size[0])
    wanted = (
        f"{PACK_VERSION} {samples.pictures.content_key()} {'as it is' if same_size else (*input_size, fit, keep_grey)}"
    )
    folder = cache_folder() / "packed" / hashlib.blake2b(wanted.encode(), digest_size=16).hexdigest()

    def bring(picture: Pixels) -> Pixels:
        if input_size[0] < picture.shape[2] and not keep_grey:
            raise _ColourFoundError
        return fit_picture(picture, input_size, fit)

    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_folder(folder) as unfinished:
                if images is not None and same_size:
                    _examine(images, unfinished)
                else:
                    _pack_into(unfinished, samples, input_size, bring, workers or default_workers())
        except _ColourFoundError:
            return pack(samples, (3, *input_size[1:]), fit, workers)
    facts = json.loads((folder / "facts.json").read_text("utf-8"))
    return Store(
        pixels=images if images is not None and same_size else np.load(folder / "pixels.npy", mmap_mode="r"),
        quarantined={int(row): reason for row, reason in facts["quarantined"].items()},
        duplicates=Duplicates(**facts["duplicates"]),
        sizes=facts["sizes"],
        modes=facts["modes"],
        notes=facts["notes"],
    )


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


def _pack_into(
    folder: Path, samples: Samples, input_size: tuple[int, int, int], bring: Callable[[Pixels], Pixels], workers: int
) -> None:
    """Decode every picture, `bring` it to the wanted size, and keep it with what it told."""
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
        decoded = [_try_decode(samples, row) for row in rows]
        good = [(row, picture.pixels) for row, (picture, _) in zip(rows, decoded, strict=True) if picture]
        for row, picture in good:
            pixels[row] = bring(picture)
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


def _try_decode(samples: Samples, row: int) -> tuple[Picture | None, str]:
    try:
        found = samples.pictures.read(row)
        if isinstance(found, np.ndarray):
            return Picture(found, "L" if found.shape[2] == 1 else "RGB", ()), ""
        return decode(found, name=samples.names[row]), ""
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
