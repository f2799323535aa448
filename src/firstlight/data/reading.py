"""A look at one image of a set: read, decoded and fingerprinted; or the reason why it cannot be used."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates import fingerprint, fingerprints, is_faint
from firstlight.data.images import DecodedImage, decode
from firstlight.data.samples import ArrayImages, Samples
from firstlight.errors import ImageError

NO_PIXELS: NDArray[np.uint8] = np.empty((0, 0, 0), np.uint8)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an image is, or why it cannot be used; and the digest of its file, where it is one."""

    image: DecodedImage | None
    reason: str = ""
    digest: bytes = b""

    def without_pixels(self) -> "Reading":
        """Keep what the image told without the memory it took."""
        return self if self.image is None else replace(self, image=replace(self.image, pixels=NO_PIXELS))


def read_sample(
    samples: Samples, row: int, max_pixels: int, input_size: tuple[int, int, int] | None, resize: str = "crop"
) -> Reading:
    """Read an image and decode it as finely as fitting it to `input_size` needs, or in full."""
    try:
        found = samples.images.read(row)
        if isinstance(found, np.ndarray):
            height, width, channels = found.shape
            return Reading(DecodedImage(found, "L" if channels == 1 else "RGB", (), (height, width)))
        image = decode(found, name=samples.names[row], max_pixels=max_pixels, input_size=input_size, resize=resize)
        return Reading(image, digest=hashlib.blake2b(found, digest_size=16).digest())
    except ImageError as reason:
        return Reading(None, str(reason))
    except OSError as reason:
        return Reading(None, f"cannot be read: {reason.strerror or reason}")


def fingerprint_into(prints: NDArray[np.void], readings: dict[int, Reading]) -> None:
    """Fingerprint images, all at once where they are of one shape."""
    images = {row: reading.image for row, reading in readings.items() if reading.image is not None}
    if len({image.pixels.shape for image in images.values()}) > 1:
        for row, reading in readings.items():
            fingerprint_into(prints, {row: reading})
    elif rows := list(images):
        first = images[rows[0]].pixels[None]
        stack = first if len(rows) == 1 else np.stack([image.pixels for image in images.values()])
        files = b"".join(reading.digest for reading in readings.values())
        prints[rows] = fingerprints(stack, np.frombuffer(files, "V16") if files else None)
        prints["size"][rows] = [image.size for image in images.values()]


def refine_faint(samples: Samples, rows: range, prints: NDArray[np.void], max_pixels: int) -> None:
    """Know images that show next to nothing by all of their pixels: they have nothing else to be compared by."""
    if not isinstance(samples.images, ArrayImages):  # those were never decoded smaller
        for row in rows.start + np.flatnonzero(is_faint(prints[rows.start : rows.stop])):
            prints[row] = whole_fingerprint(samples, int(row), prints[row], max_pixels)


def whole_fingerprint(samples: Samples, row: int, otherwise: np.void, max_pixels: int) -> np.void:
    """Fingerprint all pixels of an image; what it was before, if it cannot be read."""
    image = read_sample(samples, row, max_pixels, None).image
    return otherwise if image is None else fingerprint(image.pixels)
