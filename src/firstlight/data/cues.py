"""Cues of an image besides its object: what its file says of how it was made, and the whole picture, made very small.

They are kept for a sample of a set, when it is packed. Texts of files are kept as hashes only, so that nothing private
in them can get out, and nothing hostile.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from firstlight.data.formats import kind_of, open_image
from firstlight.data.images import warnings_as
from firstlight.verified import VerifiedFolder, VerifiedWriter

SAMPLED_IMAGES = 2000  # that cues are kept of; all of a smaller set
SIDE = 64  # pixels of a thumbnail; it is squashed, so that every border of the picture is in it
MAX_TEXT = 256  # characters of a text in a header that count
CUES_FILE, THUMBNAILS_FILE = "cues.npy", "thumbnails.npy"

_MAKE, _MODEL, _SOFTWARE, _DATE, _ARTIST, _COPYRIGHT, _DESCRIPTION = 271, 272, 305, 306, 315, 33432, 270
_EXIF_BLOCK, _DATE_TAKEN, _LENS = 34665, 36867, 42036
_DAY = 10  # characters of a date such as 2024:05:17 that name the day
_TEXTS = ("format", "mode", "tables", "camera", "software", "day", "author", "description", "fields")

# Texts are hashes; 0 where there is none.
CUES = np.dtype(
    [
        ("row", "i8"),  # in the set
        ("usable", "?"),  # whether the image could be decoded
        ("height", "i4"),
        ("width", "i4"),  # of the upright image, in pixels
        ("quality", "f4"),  # of a JPEG: the logarithm of the mean step of its luma; 0 for other files
        *((name, "u8") for name in _TEXTS),
    ]
)


@dataclass(frozen=True)
class Cues:
    """The cues of some images of a set.

    Attributes:
        table: CUES `[m]`, ascending rows.
        thumbnails: uint8 `[m, 64, 64, C]`, the whole pictures, squashed.
    """

    table: NDArray[np.void]
    thumbnails: NDArray[np.uint8]

    @classmethod
    def of_sample(cls, count: int, channels: int) -> "Cues":
        """Return the cues of a sample of `count` images, still to be filled in; it depends on their number alone."""
        rows = np.arange(count)
        if count > SAMPLED_IMAGES:
            rows = np.sort(np.random.default_rng(0).choice(count, SAMPLED_IMAGES, replace=False))
        table = np.zeros(len(rows), CUES)
        table["row"] = rows
        return cls(table, np.zeros((len(rows), SIDE, SIDE, channels), np.uint8))

    def places(self, rows: range) -> dict[int, int]:
        """Return where the images of the sample among these rows are in the tables, by row."""
        first, last = np.searchsorted(self.table["row"], [rows.start, rows.stop])
        return {int(self.table["row"][place]): place for place in range(first, last)}

    def fill_in(
        self, place: int, pixels: NDArray[np.uint8], size: tuple[int, int], header: dict[str, Any] | None
    ) -> None:
        """Fill in one image: its pixels, uint8 `[H, W, C]`, its full height and width, and what `read_header` found."""
        entry = self.table[place]
        entry["usable"] = True
        entry["height"], entry["width"] = size
        for name, value in (header or {}).items():
            entry[name] = value
        self.thumbnails[place] = _squashed(pixels, self.thumbnails.shape[3])

    @property
    def nbytes(self) -> int:
        """How many bytes both tables have."""
        return self.table.nbytes + self.thumbnails.nbytes

    def write(self, files: VerifiedWriter) -> None:
        """Write both tables as files of a folder."""
        files.save(CUES_FILE, self.table)
        files.save(THUMBNAILS_FILE, self.thumbnails)

    @classmethod
    def read(cls, files: VerifiedFolder) -> "Cues":
        """Read both tables from a folder."""
        return cls(files.load(CUES_FILE), files.map(THUMBNAILS_FILE))


def read_header(data: bytes) -> dict[str, Any]:
    """Return what the header of an image file says of how it was made, as values of CUES; nothing is decoded.

    What is damaged counts as missing.
    """
    found: dict[str, Any] = {}
    # Pillow's readers raise nearly any exception on hostile bytes
    with suppress(Exception), warnings_as([]):
        kind = kind_of(data)
        image = open_image(kind, data)
        found |= {"format": _hash(kind), "mode": _hash(image.mode)}
        if isinstance(image, JpegImageFile):
            found |= _compression(image)
        names = {str(name) for name in image.info if name not in ("exif", "jfif", "jfif_version")}
        exif = image.getexif()
        block = exif.get_ifd(_EXIF_BLOCK)
        found |= {
            "camera": _hash(exif.get(_MAKE), exif.get(_MODEL), block.get(_LENS)),
            "software": _hash(exif.get(_SOFTWARE)),
            "day": _hash(str(block.get(_DATE_TAKEN) or exif.get(_DATE) or "")[:_DAY]),
            "author": _hash(exif.get(_ARTIST), exif.get(_COPYRIGHT)),
            "description": _hash(exif.get(_DESCRIPTION)),
            "fields": _hash(*sorted(names), *sorted(exif), *sorted(block)),
        }
    return found


def _compression(image: JpegImageFile) -> dict[str, Any]:
    tables = {number: list(table) for number, table in image.quantization.items()}
    sampling = [tuple(layer[1:3]) for layer in image.layer]
    steps = tables.get(0) or [1]
    quality = float(np.log(np.mean(np.maximum(steps, 1))))
    return {"tables": _hash(tables, sampling, image.info.get("progressive")), "quality": quality}


def _hash(*values: object) -> int:
    """Return a hash of some values as text; 0 if all of them are missing or empty."""
    texts = ["" if value is None else str(value)[: MAX_TEXT * 8].strip("\0 ") for value in values]
    return xxhash.xxh3_64_intdigest("\0".join(texts).encode("utf-8", "backslashreplace")) if any(texts) else 0


def _squashed(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return a whole image as a thumbnail, uint8 `[64, 64, C]`."""
    height, width, _ = pixels.shape
    # four pixels of a photograph for each of the thumbnail are enough, and much faster
    thinned = np.ascontiguousarray(pixels[:: max(1, height // (2 * SIDE)), :: max(1, width // (2 * SIDE))])
    image = Image.fromarray(thinned[..., 0] if thinned.shape[2] == 1 else thinned)
    if image.mode != (mode := "L" if channels == 1 else "RGB"):
        image = image.convert(mode)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(SIDE, SIDE, channels)
