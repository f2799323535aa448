"""Read, decode and fingerprint single images of a set, or return the reason why one cannot be used."""

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.decode_task import Answer, Choices, File
from firstlight.data.duplicates import fingerprint, fingerprints, is_nearly_plain
from firstlight.data.image_sources import ArrayImages
from firstlight.data.images import DecodedImage
from firstlight.data.isolation import Together, decode_safely
from firstlight.data.samples import Samples
from firstlight.errors import ImageError
from firstlight.white import TYPES_WHITE, White

NO_PIXELS: NDArray[np.uint8] = np.empty((0, 0, 0), np.uint8)


def stacked(samples: Samples) -> NDArray[np.uint8] | None:
    """Return the images of a set that is one array, uint8 `[N, H, W, C]`; else None."""
    return samples.images.images if isinstance(samples.images, ArrayImages) else None


@dataclass(frozen=True, slots=True)
class Reading:
    """The outcome of reading one image.

    Attributes:
        image: the decoded image; None if it cannot be used.
        reason: why it cannot be used.
        digest: of its file, 16 bytes; empty if it is not a file.
        header: what its file says of how it was made, if that was asked for; see `cues.read_header`.
    """

    image: DecodedImage | None
    reason: str = ""
    digest: bytes = b""
    header: dict[str, Any] | None = None

    def with_own_pixels(self) -> "Reading":
        """Return the same with a copy of the pixels, which stays."""
        return self if self.image is None else replace(self, image=replace(self.image, pixels=self.image.pixels.copy()))

    def without_pixels(self) -> "Reading":
        """Return the same without the pixels, to free their memory."""
        return self if self.image is None else replace(self, image=replace(self.image, pixels=NO_PIXELS))


def read_sample(
    samples: Samples,
    row: int,
    max_pixels: int,
    input_size: tuple[int, int, int] | None,
    resize: str = "crop",
    *,
    white: White = TYPES_WHITE,
) -> Reading:
    """Return image `row`, decoded as finely as resizing it to `input_size` needs; in full if that is None.

    Args:
        samples: the set.
        row: the image.
        max_pixels: an image with more pixels cannot be used.
        input_size: the (C, H, W) it will be resized to, or None.
        resize: how it will be resized.
        white: which value of more than 8 bits is white.
    """
    found = _read(samples, row, max_pixels)
    if isinstance(found, Reading):
        return found
    try:
        image = decode_safely(
            found,
            name=samples.names[row],
            max_pixels=max_pixels,
            input_size=input_size,
            resize=resize,
            white=white,
        )
    except ImageError as reason:
        return _reading((reason, None), found)
    return _reading((image, None), found)


def read_samples(
    samples: Samples, rows: Iterable[int], choices: Choices, with_header: Container[int] = ()
) -> Iterator[tuple[int, Reading]]:
    """Yield each row, in any order, with what `read_sample` returns for it.

    Args:
        samples: the set.
        rows: the images.
        choices: how they are decoded.
        with_header: rows of which to read what the file says of how it was made.

    Note: the pixels are only there until the next image is asked for.
    """
    together: Together[tuple[int, bytes]] = Together(choices)
    for row in rows:
        found = _read(samples, row, choices.max_pixels)
        if isinstance(found, Reading):
            yield row, found
            continue
        file = File(found, samples.names[row], row in with_header)
        for (ready, data), answer in together.add((row, found), file):
            yield ready, _reading(answer, data)
    for (ready, data), answer in together.rest():
        yield ready, _reading(answer, data)


def _read(samples: Samples, row: int, max_pixels: int) -> bytes | Reading:
    """Return the bytes of a file; of an array, or where there is none, the whole reading."""
    try:
        found = samples.images.read(row)
    except ImageError as reason:
        return Reading(None, str(reason))
    except OSError as reason:
        return Reading(None, f"cannot be read: {reason.strerror or reason}")
    if isinstance(found, bytes):
        return found
    height, width, channels = found.shape
    if height * width > max_pixels:
        return Reading(
            None,
            f"{width} x {height} pixels are more than the limit of {max_pixels:,}; make it smaller, or raise "
            "`max_pixels`",
        )
    return Reading(DecodedImage(found, "L" if channels == 1 else "RGB", (), (height, width)))


def _reading(answer: Answer, data: bytes) -> Reading:
    image, header = answer
    if isinstance(image, ImageError):
        return Reading(None, str(image))
    return Reading(image, digest=hashlib.blake2b(data, digest_size=16).digest(), header=header)


def fingerprint_into(prints: NDArray[np.void], readings: dict[int, Reading]) -> None:
    """Fill in the fingerprints of some rows, all at once if the images have one shape."""
    images = {row: reading.image for row, reading in readings.items() if reading.image is not None}
    if len({image.pixels.shape for image in images.values()}) > 1:
        for row, reading in readings.items():
            fingerprint_into(prints, {row: reading})
    elif rows := list(images):
        first = images[rows[0]].pixels[None]
        stack = first if len(rows) == 1 else np.stack([image.pixels for image in images.values()])
        files = [readings[row].digest for row in rows]
        prints[rows] = fingerprints(stack, np.frombuffer(b"".join(files), "V16") if all(files) else None)
        prints["size"][rows] = [image.size for image in images.values()]


def refine_nearly_plain(samples: Samples, rows: range, prints: NDArray[np.void], max_pixels: int, white: White) -> None:
    """Replace the fingerprints of images with hardly any detail by those of all their pixels.

    Such images cannot be compared by thumbnails, and JPEGs may have been decoded at a smaller size.
    """
    if stacked(samples) is None:  # arrays are never decoded at a smaller size
        for row in rows.start + np.flatnonzero(is_nearly_plain(prints[rows.start : rows.stop])):
            prints[row] = full_fingerprint(samples, int(row), prints[row], max_pixels, white)


def full_fingerprint(samples: Samples, row: int, otherwise: np.void, max_pixels: int, white: White) -> np.void:
    """Return the fingerprint of all pixels of an image, or `otherwise` if it cannot be read."""
    image = read_sample(samples, row, max_pixels, None, white=white).image
    if image is None:
        return otherwise
    found = fingerprint(image.pixels)
    if image.values:  # images that differ may be the same in 8 bits
        found["digest"] = np.frombuffer(image.values, "V16")[0]
    return found
