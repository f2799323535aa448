"""The store: every image decoded once, resized to one size, and kept as uint8 in a memory-mapped file.

The file is in a cache folder whose name depends on all that it holds: the images' content, their size and how they
were resized. Images are packed into a temporary folder that is renamed at the end, so an interruption leaves nothing
incomplete.

All files are compared with the digests of their blocks that were taken while they were written: when the store is
opened, or, of more than 2 GiB of pixels, block by block when they are first read. What is damaged is packed again.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray

from firstlight.data.cues import Cues
from firstlight.data.decode_task import Choices
from firstlight.data.duplicates import Duplicates
from firstlight.data.image_sources import ArrayImages
from firstlight.data.images import MAX_PIXELS
from firstlight.data.packing import (
    DIGESTS_FILE,
    FACTS_FILE,
    PIXELS_FILE,
    SIZES_FILE,
    PackChoices,
    Size,
    describe_array,
    guess_size,
    pack_into,
)
from firstlight.data.reading import stacked
from firstlight.data.samples import Samples
from firstlight.data.streaming import PixelRows, StreamedRows
from firstlight.errors import DataError, NoRoomError
from firstlight.progress import announce
from firstlight.resize import parse_resize
from firstlight.runtime.cache_groups import written_once
from firstlight.runtime.processors import default_workers
from firstlight.verified import CheckedRows, Kind, VerifiedFolder, VerifiedWriter, discard, kept
from firstlight.white import TYPES_WHITE, White

CACHE_VERSION = 10  # increased when the files hold something else, or decoding, resizing or finding copies changes
PACKED = Kind("packed", CACHE_VERSION, "packed pictures")
LAZY_ABOVE_BYTES = 2 << 30  # fewer are read at once anyway: training keeps them in memory
DEFAULT_SIDE = 64  # pixels: of images that are large or of several sizes, if nothing else is asked for

Cache = Literal["auto", "disk", "stream"]
STREAMED_NOTE = "pictures are decoded again each time they are used: the results are the same, but it takes longer"

__all__ = ["DEFAULT_SIDE", "Size", "Store", "pack"]


@dataclass(frozen=True)
class Store:
    """Packed images, and what was learned by decoding them; rows are those of `Samples`.

    Attributes:
        content_key: hex digits that change only if the images, their names or their order change.
        digests: of each image as it was given, uint64 `[N]`: of its file, or of its pixels if it is an array. They do
            not depend on what images are resized to. Only accidents are excluded: digests can be forged.
        pixels: uint8 `[N, H, W, C]`, memory-mapped; rows of quarantined images are black and never used. More than
            2 GiB are `CheckedRows`, and without room on the disk they are `StreamedRows`, decoded whenever they are
            used; both take an index as an array does.
        quarantined: why each unusable image cannot be used, by row.
        duplicates: rows whose images are the same, exactly or nearly.
        original_sizes: height and width of each image before it was resized, int32 `[N, 2]`; 0 where quarantined.
        sizes: the number of images of each `HEIGHTxWIDTH`.
        modes: the number of images of each file mode (`RGB`, `L`, `I;16` ...).
        notes: what the decoder had to decide, by note: the rows it concerns.
        white: which value of more than 8 bits became white.
        cues: what some of the images show and say besides their object; None in a store made by hand.
    """

    content_key: str
    digests: NDArray[np.uint64]
    original_sizes: NDArray[np.int32]
    pixels: PixelRows
    quarantined: dict[int, str]
    duplicates: Duplicates
    sizes: dict[str, int]
    modes: dict[str, int]
    notes: dict[str, list[int]] = field(default_factory=dict)
    white: White = TYPES_WHITE
    cues: Cues | None = None

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of every packed image."""
        _, height, width, channels = self.pixels.shape
        return channels, height, width

    @property
    def usable(self) -> NDArray[np.int64]:
        """The rows that are not quarantined, ascending."""
        return np.setdiff1d(np.arange(len(self.pixels)), list(self.quarantined)).astype(np.int64)


def pack(
    samples: Samples,
    size: Size = None,
    *,
    default_side: int = DEFAULT_SIDE,
    resize: str = "crop",
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    white: White | None = None,
    cache: Cache = "auto",
) -> Store:
    """Decode every image once and return the store, or open the store if that was done before.

    Without room on the disk, only what is learned by that is kept, and the pixels are decoded again whenever they are
    used.

    Args:
        samples: where the images are.
        size: what they are resized to: channels, height and width; or the side of a square, gray if all images are;
            or None: images of one size no larger than 64 pixels keep it, others become squares of `default_side`.
        default_side: the side of the square in pixels if `size` is None.
        resize: `crop`, `crop:FRACTION`, `pad` or `squash`; see `images.resize_image`.
        workers: decoding threads, by default one per processor; the result does not depend on it.
        max_pixels: an image with more pixels is quarantined before it is decoded.
        white: which value of more than 8 bits is white; by default chosen by the brightest image.
        cache: `disk` keeps the pixels on disk, `stream` decodes them again, `auto` does so if the disk has no room.

    Raises:
        WriteError: if the cache cannot be written.
        NoRoomError: if it has no room for what has to be written; this is told before any image is packed.
        RecipeError: if there is no such `resize`.
    """
    _, fraction = parse_resize(resize)
    choices = PackChoices(size, default_side, resize, max_pixels, white)
    array = samples.images if isinstance(samples.images, ArrayImages) else None
    images = stacked(samples)
    # An array that has the right size already is used as it is.
    unchanged = images
    if images is None or fraction < 1 or guess_size(samples, choices) != (images.shape[3], *images.shape[1:3]):
        unchanged = None
    workers = workers or default_workers()
    key = samples.images.content_key()
    shape = None if unchanged is None else unchanged.shape[1:]
    depends_on = (PIL.__version__, simplejpeg.__version__, key, shape or choices)

    def write(files: VerifiedWriter) -> None:
        if unchanged is not None:
            describe_array(unchanged, files)
        else:
            pack_into(files, samples, choices, workers)

    def name_of(*what: object) -> str:
        return hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()

    with written_once():
        if unchanged is not None or cache != "stream":
            try:
                return kept(PACKED, name_of(*depends_on), lambda files: _open(files, key, unchanged, array), write)
            except NoRoomError as error:
                if unchanged is not None or cache == "disk":
                    raise
                announce(f"note: {error.shortage}; so {STREAMED_NOTE}")
        return kept(
            PACKED,
            name_of(*depends_on, "streamed"),
            lambda files: _open_streamed(files, key, samples, choices, workers),
            lambda files: pack_into(files, samples, choices, workers, with_pixels=False),
        )


def _open(files: VerifiedFolder, key: str, images: NDArray[np.uint8] | None, array: ArrayImages | None) -> Store:
    """Return the store in a folder, or DamagedError.

    Args:
        files: those of the folder.
        key: of the content.
        images: the pixels, if they are not in the folder.
        array: where the images come from, if they are in memory.
    """
    facts = json.loads(files.read(FACTS_FILE))
    white = array.white if array else White(**facts["white"])
    return _store_of(files, key, facts, _pixels(files) if images is None else images, white)


def _open_streamed(files: VerifiedFolder, key: str, samples: Samples, choices: PackChoices, workers: int) -> Store:
    """Return a store whose pixels are decoded whenever they are used, or DamagedError."""
    facts = json.loads(files.read(FACTS_FILE))
    channels, height, width = facts["input_size"]
    white = samples.images.white if isinstance(samples.images, ArrayImages) else White(**facts["white"])
    asked = Choices(choices.max_pixels, (channels, height, width), choices.resize, White(**facts["white"]))
    rows = StreamedRows(samples, asked, {int(row) for row in facts["quarantined"]}, workers)
    return _store_of(files, key, facts, rows, white)


def _store_of(files: VerifiedFolder, key: str, facts: dict[str, Any], pixels: PixelRows, white: White) -> Store:
    return Store(
        content_key=key,
        digests=files.load(DIGESTS_FILE),
        original_sizes=files.load(SIZES_FILE),
        pixels=pixels,
        quarantined={int(row): reason for row, reason in facts["quarantined"].items()},
        duplicates=Duplicates(**facts["duplicates"]),
        sizes=facts["sizes"],
        modes=facts["modes"],
        notes=facts["notes"],
        white=white,
        cues=Cues.read(files),
    )


def _pixels(files: VerifiedFolder) -> NDArray[np.uint8] | CheckedRows:
    def refuse(why: str) -> NoReturn:
        discard(files.folder)
        raise DataError(
            f"{files.folder}: the packed pictures there are damaged ({why}) and were removed; start again, and they "
            "will be packed again; a run that has begun can be resumed"
        )

    if files.size(PIXELS_FILE) > LAZY_ABOVE_BYTES and hasattr(os, "pread"):  # which Windows lacks
        return files.map_lazily(PIXELS_FILE, refuse)
    return files.map(PIXELS_FILE)
