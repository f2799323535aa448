"""Sprites: many small images in a few WebP sheets inside the page, so that a file of a few megabytes holds them all."""

import io
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstlight.delivery.report.material import Images

COLUMNS = 32  # of a sheet, and rows at most: WebP allows sides of 16,383 pixels
SHARP_SIDE = 64  # pixels; images up to this size are shown with sharp pixels
QUALITY, SHARP_QUALITY = 72, 88  # of WebP
SMALLER = 0.75  # a step down in size, if the sheets take too many bytes
SMALLEST_SIDE = 24  # pixels
SAMPLE = 64  # images that are encoded to see how many bytes all will take
GROWTH = 1.5  # of the bytes of an image with its side, as a power; measured on photographs, 1.4 to 1.7


@dataclass(frozen=True)
class Sprites:
    """Images of a page.

    Attributes:
        css: the rules that hold the sheets.
        classes: the CSS classes that show an image, by its name.
        size: bytes of the sheets in the page.
    """

    css: str
    classes: dict[str, str]
    size: int


def sprites_of(images: Images, prefix: str, *, side: int, budget: int) -> Sprites:
    """Return images as sprites, as large as the budget allows.

    Args:
        images: uint8 `[H, W, C]` each, by name.
        prefix: of the CSS classes of the sheets, a letter.
        side: of an image in the page, in pixels, at most.
        budget: bytes that the sheets may take in the page; images are made smaller until they fit.
    """
    names = list(images)
    largest = max((max(image.shape[:2]) for image in images.values()), default=side)
    sharp = largest <= SHARP_SIDE
    quality = SHARP_QUALITY if sharp else QUALITY
    side = _affordable(images, min(side, largest), budget, quality)
    while True:
        sheets = [_webp(_sheet([images[name] for name in part], side, sharp=sharp), quality) for part in _parts(names)]
        texts = [b64encode(sheet).decode() for sheet in sheets]
        size = sum(map(len, texts))
        if size <= budget or side <= SMALLEST_SIDE:
            break
        side = max(SMALLEST_SIDE, int(side * SMALLER))
    rules = [
        f".{prefix}{number}{{--c:{min(COLUMNS, len(part))};--r:{-(-len(part) // COLUMNS)};"
        f"background-image:url(data:image/webp;base64,{text})}}"
        for number, (part, text) in enumerate(zip(_parts(names), texts, strict=True))
    ]
    kind = "sprite sharp" if sharp else "sprite"
    classes = {
        name: f"{kind} {prefix}{number} x{place % COLUMNS} y{place // COLUMNS}"
        for number, part in enumerate(_parts(names))
        for place, name in enumerate(part)
    }
    return Sprites("\n".join(rules), classes, size)


def position_rules() -> str:
    """Return the CSS rules that say where in its sheet a sprite is."""
    return "".join(f".x{number}{{--x:{number}}}.y{number}{{--y:{number}}}" for number in range(COLUMNS))


def _affordable(images: Images, side: int, budget: int, quality: int) -> int:
    """Return the side at which all images are likely to take no more than the budget, judging by some of them."""
    names = list(images)
    if len(names) <= SAMPLE:
        return side
    some = [images[names[place]] for place in np.linspace(0, len(names) - 1, SAMPLE).astype(int)]
    expected = len(_webp(_sheet(some, side, sharp=quality == SHARP_QUALITY), quality)) * 4 / 3 * len(names) / SAMPLE
    if expected <= budget:
        return side
    return max(SMALLEST_SIDE, int(side * (budget / expected) ** (1 / GROWTH)))


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), COLUMNS * COLUMNS):
        yield names[start : start + COLUMNS * COLUMNS]


def _sheet(images: Sequence[NDArray[np.uint8]], side: int, *, sharp: bool) -> Image.Image:
    """Return images side by side, each in the middle of a square; what it leaves of the square shows the page."""
    columns, rows = min(COLUMNS, len(images)), -(-len(images) // COLUMNS)
    square = all(image.shape[0] == image.shape[1] for image in images)
    sheet = Image.new("RGB" if square else "RGBA", (columns * side, rows * side))
    for place, pixels in enumerate(images):
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
        if max(image.size) > side:
            image.thumbnail((side, side), Image.Resampling.BOX if sharp else Image.Resampling.BILINEAR)
        elif square and image.width < side:
            image = image.resize((side, side), Image.Resampling.NEAREST)
        left, top = (side - image.width) // 2, (side - image.height) // 2
        at = ((place % COLUMNS) * side + left, (place // COLUMNS) * side + top)
        sheet.paste(image.convert(sheet.mode), at)
    return sheet


def _webp(sheet: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    sheet.save(file, format="WEBP", quality=quality, method=2)
    return file.getvalue()
