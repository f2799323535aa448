"""Pack images into a folder: decode them in threads, resize them to one size, and record what was found."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from firstlight.cache import OTHER_CACHE
from firstlight.data.cues import Cues
from firstlight.data.decode_task import Choices
from firstlight.data.duplicates import FINGERPRINT, Duplicates, find_duplicates, fingerprints, separate_exact_copies
from firstlight.data.images import DecodedImage, resize_image
from firstlight.data.parallel import in_order
from firstlight.data.reading import (
    Reading,
    fingerprint_into,
    full_fingerprint,
    read_sample,
    read_samples,
    refine_nearly_plain,
    stacked,
)
from firstlight.data.samples import Samples
from firstlight.disk import require_room
from firstlight.escaping import escape_name
from firstlight.progress import phase, progress
from firstlight.verified import VerifiedWriter
from firstlight.white import TYPES_WHITE, White

FACTS_FILE, PIXELS_FILE, DIGESTS_FILE, SIZES_FILE = "facts.json", "pixels.npy", "digests.npy", "sizes.npy"
# A worker takes up to this many images at a time; fewer, so that the packed images of all workers take at most
# CHUNK_BYTES, and as much again while they wait to be written; LATE times as much while one image takes very long.
CHUNK_IMAGES = 128
CHUNK_BYTES = 2**25
LATE = 8
SIZE_SAMPLE_IMAGES = 64  # images that are read to guess the size
SMALLEST_SIZE = (1, 1, 1)  # (C, H, W): JPEGs among them are decoded as small as possible
BATCHED_BYTES = 2**16  # images of up to this many bytes are fingerprinted together
SMALL_SIDE = 64  # pixels: images of one size no larger than this keep it
BYTES_OF_FACTS = 32  # about each image, in the other files

Pixels = NDArray[np.uint8]
Size = tuple[int, int, int] | int | None  # (C, H, W); or the side of a square; or as `default_side`


@dataclass(frozen=True)
class PackChoices:
    """How images are packed; see `store.pack`."""

    size: Size
    default_side: int
    resize: str
    max_pixels: int
    white: White | None = None  # which value of more than 8 bits is white; None: by the brightest image


class _WrongGuessError(Exception):
    """An image does not match what was guessed; `size` and `white` are guesses that include it."""

    def __init__(self, size: tuple[int, int, int], white: White) -> None:
        super().__init__(size, white)
        self.size = size
        self.white = white


def describe_array(images: Pixels, files: VerifiedWriter) -> None:
    """Write what there is to know about images that need no packing, uint8 `[N, H, W, C]`."""
    count, height, width, channels = images.shape
    cues = Cues.of_sample(count, channels)
    needed = count * BYTES_OF_FACTS + cues.nbytes
    require_room(files.folder.parent, needed, "what is known of the pictures", f"free some room, {OTHER_CACHE}")
    facts = _Facts(
        prints=fingerprints(images),
        sizes=Counter({f"{height}x{width}": count}),
        modes=Counter({"L" if channels == 1 else "RGB": count}),
    )
    facts.digests[:] = _digest_numbers(facts.prints)
    facts.write(files, facts.duplicates())
    for row, place in cues.places(range(count)).items():
        cues.fill_in(place, images[row], (height, width), None)
    cues.write(files)


def pack_into(
    files: VerifiedWriter, samples: Samples, choices: PackChoices, workers: int, *, with_pixels: bool = True
) -> None:
    """Write the packed images of a set, unless they are streamed, and what is known about them, as files of a folder.

    The size, and which value is white, are guessed from some images; if another one shows that a guess was wrong,
    packing starts again.

    Raises:
        NoRoomError: if the disk has no room.
    """
    some = [] if isinstance(choices.size, tuple) else _some_images(samples, choices)
    guess, white = guess_size(samples, choices, some), choices.white or TYPES_WHITE
    if choices.white is None:
        for image in some:
            white = white.with_room_for(image.brightest)
    while True:
        try:
            return _pack_at_size(files, samples, choices, guess, white=white, workers=workers, with_pixels=with_pixels)
        except _WrongGuessError as wrong:
            guess, white = wrong.size, wrong.white


def guess_size(samples: Samples, choices: PackChoices, some: Sequence[DecodedImage] = ()) -> tuple[int, int, int]:
    """Return the channels, height and width that a set should be packed at, judging by some of its images."""
    if isinstance(choices.size, tuple):
        return choices.size
    images = stacked(samples)
    found = {(*image.size, image.pixels.shape[2]) for image in some}
    shapes = found if images is None else {images.shape[1:]}
    channels = max((shape[2] for shape in shapes), default=3)
    sizes = {shape[:2] for shape in shapes}
    if choices.size is None and len(sizes) == 1 and max(common_size := sizes.pop()) <= SMALL_SIDE:
        return channels, *common_size
    return channels, choices.size or choices.default_side, choices.size or choices.default_side


def _some_images(samples: Samples, choices: PackChoices) -> list[DecodedImage]:
    """Return up to `SIZE_SAMPLE_IMAGES` images from all over a set, decoded as small as they may be."""
    if stacked(samples) is not None:
        return []
    rows = np.unique(np.linspace(0, len(samples) - 1, SIZE_SAMPLE_IMAGES).astype(int)).tolist()
    found = [read_sample(samples, row, choices.max_pixels, SMALLEST_SIZE).image for row in rows]
    return [image for image in found if image]


def _guess_including(image: DecodedImage, guess: tuple[int, int, int], choices: PackChoices) -> tuple[int, int, int]:
    """Return a guess that also suits this image: color is never discarded, and only equal small images keep a size."""
    if isinstance(choices.size, tuple):
        return choices.size
    channels, height, width = max(guess[0], image.pixels.shape[2]), *guess[1:]
    if choices.size is None and max(height, width) <= SMALL_SIDE and image.size != (height, width):
        height, width = choices.default_side, choices.default_side
    return channels, height, width


def _pack_at_size(
    files: VerifiedWriter,
    samples: Samples,
    choices: PackChoices,
    input_size: tuple[int, int, int],
    *,
    white: White,
    workers: int,
    with_pixels: bool,
) -> None:
    """Decode every image, resize it to `input_size`, and write the pixels, if they are wanted, and what was found.

    Raises:
        _WrongGuessError: if an image does not match `input_size`, or is brighter than `white`.
    """
    count, (channels, height, width) = len(samples.labels), input_size
    cues = Cues.of_sample(count, channels)
    needed = count * (with_pixels * channels * height * width + BYTES_OF_FACTS) + cues.nbytes
    require_room(
        files.folder.parent,
        needed,
        f"{escape_name(samples.source)}: packing",
        f"use a smaller `img_size`, {OTHER_CACHE}",
    )
    facts = _Facts(prints=np.zeros(count, FINGERPRINT), white=white, input_size=input_size)

    asked = Choices(choices.max_pixels, input_size, choices.resize, white)

    def work(rows: range) -> tuple[Pixels, list[Reading]]:
        block = np.zeros((len(rows), height, width, channels), np.uint8)
        readings, small, places = {}, {}, cues.places(rows)
        for row, reading in read_samples(samples, rows, asked, places):
            if reading.image is not None:
                if row in places:
                    cues.fill_in(places[row], reading.image.pixels, reading.image.size, reading.header)
                block[row - rows.start] = _resized(reading.image, input_size, white, choices)
                if reading.image.pixels.size <= BATCHED_BYTES:
                    small[row] = reading.with_own_pixels()
                else:
                    fingerprint_into(facts.prints, {row: reading})
            readings[row] = reading.without_pixels()
        fingerprint_into(facts.prints, small)
        facts.digests[rows.start : rows.stop] = _digest_numbers(facts.prints[rows.start : rows.stop])
        refine_nearly_plain(samples, rows, facts.prints, choices.max_pixels, white)
        return block, [readings[row] for row in rows]

    step = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // (workers * height * width * channels)))
    chunks = [range(start, min(start + step, count)) for start in range(0, count, step)]
    with (
        files.open(PIXELS_FILE) if with_pixels else nullcontext() as file,
        progress("decoding pictures", count, "pictures") as advance,
    ):
        if file is not None:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, height, width, channels)}
            np.lib.format.write_array_header_1_0(file, header)
        for rows, (block, readings) in zip(chunks, in_order(work, chunks, workers, LATE * workers), strict=True):
            if file is not None:
                file.write(block.data)  # note: a memory map would be slower, and a full disk would kill the process
            for row, reading in zip(rows, readings, strict=True):
                facts.add(row, reading)
            advance(len(rows))
    with phase("looking for copies"):
        facts.write(files, _find_copies(samples, facts, choices.max_pixels, workers))
    cues.write(files)


def _resized(image: DecodedImage, input_size: tuple[int, int, int], white: White, choices: PackChoices) -> Pixels:
    better = _guess_including(image, input_size, choices)
    brighter = white if choices.white is not None else white.with_room_for(image.brightest)
    if (better, brighter) != (input_size, white):
        raise _WrongGuessError(better, brighter)
    return resize_image(image.pixels, input_size, choices.resize)


def _find_copies(samples: Samples, facts: "_Facts", max_pixels: int, workers: int) -> Duplicates:
    """Return the copies; those whose files differ are decoded in full, since their pixels may still be equal."""
    found = facts.duplicates()
    if stacked(samples) is not None:
        return found
    near = list(itertools.chain(*found.near))
    full = in_order(
        lambda row: full_fingerprint(samples, row, facts.prints[row], max_pixels, facts.white), near, workers
    )
    digests = {row: fingerprint["digest"].tobytes() for row, fingerprint in zip(near, full, strict=True)}
    return separate_exact_copies(found, digests)


@dataclass
class _Facts:
    """What is learned by decoding images; see `store.Store`. `prints` are FINGERPRINT `[N]`."""

    prints: NDArray[np.void]
    white: White = TYPES_WHITE
    input_size: tuple[int, int, int] | None = None
    quarantined: dict[int, str] = field(default_factory=dict)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    notes: dict[str, list[int]] = field(default_factory=dict)
    digests: NDArray[np.uint64] = field(init=False)

    def __post_init__(self) -> None:
        self.digests = np.zeros(len(self.prints), np.uint64)

    def add(self, row: int, reading: Reading) -> None:
        if (image := reading.image) is None:
            self.quarantined[row] = reading.reason
            return
        height, width = image.size
        self.sizes[f"{height}x{width}"] += 1
        self.modes[image.mode] += 1
        for text in image.notes:
            self.notes.setdefault(text, []).append(row)

    def duplicates(self) -> Duplicates:
        """Return the copies among the images that are not quarantined."""
        usable = np.setdiff1d(np.arange(len(self.prints)), list(self.quarantined)).astype(np.int64)
        found = find_duplicates(self.prints[usable])
        return Duplicates(*([usable[group].tolist() for group in groups] for groups in (found.exact, found.near)))

    def write(self, files: VerifiedWriter, duplicates: Duplicates) -> None:
        facts = {
            "quarantined": self.quarantined,
            "duplicates": asdict(duplicates),
            "sizes": dict(self.sizes.most_common()),
            "modes": dict(self.modes.most_common()),
            "notes": self.notes,
            "white": asdict(self.white),
            "input_size": self.input_size,
        }
        files.save(DIGESTS_FILE, self.digests)
        files.save(SIZES_FILE, self.prints["size"])
        files.write(FACTS_FILE, json.dumps(facts).encode())


def _digest_numbers(prints: NDArray[np.void]) -> NDArray[np.uint64]:
    """Return the first 64 bits of the digests of FINGERPRINT `[N]`."""
    return np.ascontiguousarray(prints["digest"]).view("<u8")[::2].astype(np.uint64)
