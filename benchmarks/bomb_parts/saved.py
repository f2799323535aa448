"""What makers of bombs share: pictures as Pillow writes them, and zeros that are deflated."""

import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from PIL import Image

LONG = 4  # a type of numbers in TIFF and EXIF
Kinds = Mapping[str, tuple[Callable[..., bytes], Sequence[int]]]  # of each kind, its maker and what that is called with


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@cache
def flat(side: int, kind: str, mode: str = "RGB", **options: object) -> bytes:
    """Return a square of one color."""
    return file_of(Image.new(mode, (side, side)), kind, **options)


def zeros(count: int) -> bytes:
    """Return that many zeros, deflated a thousandfold."""
    packer, block = zlib.compressobj(1), bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(count >> 20)]
    return b"".join([*parts, packer.compress(block[: count % (1 << 20)]), packer.flush()])
