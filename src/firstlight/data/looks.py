"""A look at one picture of a set: read, decoded and fingerprinted; or the reason why it cannot be used."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates import fingerprint, fingerprints, is_faint
from firstlight.data.images import Picture, decode
from firstlight.data.samples import ArrayPictures, Samples
from firstlight.errors import PictureError

NO_PIXELS: NDArray[np.uint8] = np.empty((0, 0, 0), np.uint8)


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture is, or why it cannot be used; and the digest of its file, where it is one."""

    picture: Picture | None
    reason: str = ""
    digest: bytes = b""

    def without_pixels(self) -> "Look":
        """Keep what the picture told without the memory it took."""
        return self if self.picture is None else replace(self, picture=replace(self.picture, pixels=NO_PIXELS))


def look_at(
    samples: Samples, row: int, max_pixels: int, input_size: tuple[int, int, int] | None, fit: str = "crop"
) -> Look:
    """Read a picture and decode it as finely as fitting it to `input_size` needs, or in full."""
    try:
        found = samples.pictures.read(row)
        if isinstance(found, np.ndarray):
            height, width, channels = found.shape
            return Look(Picture(found, "L" if channels == 1 else "RGB", (), (height, width)))
        picture = decode(found, name=samples.names[row], max_pixels=max_pixels, input_size=input_size, fit=fit)
        return Look(picture, digest=hashlib.blake2b(found, digest_size=16).digest())
    except PictureError as reason:
        return Look(None, str(reason))
    except OSError as reason:
        return Look(None, f"cannot be read: {reason.strerror or reason}")


def fingerprint_into(prints: NDArray[np.void], looks: dict[int, Look]) -> None:
    """Fingerprint pictures, all at once where they are of one shape."""
    pictures = {row: look.picture for row, look in looks.items() if look.picture is not None}
    if len({picture.pixels.shape for picture in pictures.values()}) > 1:
        for row, look in looks.items():
            fingerprint_into(prints, {row: look})
    elif rows := list(pictures):
        first = pictures[rows[0]].pixels[None]
        stack = first if len(rows) == 1 else np.stack([picture.pixels for picture in pictures.values()])
        files = b"".join(look.digest for look in looks.values())
        prints[rows] = fingerprints(stack, np.frombuffer(files, "V16") if files else None)
        prints["size"][rows] = [picture.size for picture in pictures.values()]


def look_closer(samples: Samples, rows: range, prints: NDArray[np.void], max_pixels: int) -> None:
    """Know pictures that show next to nothing by all of their pixels: they have nothing else to be compared by."""
    if not isinstance(samples.pictures, ArrayPictures):  # those were never decoded smaller
        for row in rows.start + np.flatnonzero(is_faint(prints[rows.start : rows.stop])):
            prints[row] = whole_fingerprint(samples, int(row), prints[row], max_pixels)


def whole_fingerprint(samples: Samples, row: int, otherwise: np.void, max_pixels: int) -> np.void:
    """Fingerprint all pixels of a picture; what it was before, if it cannot be read."""
    picture = look_at(samples, row, max_pixels, None).picture
    return otherwise if picture is None else fingerprint(picture.pixels)
