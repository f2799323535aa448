"""Image files: mutated in every format that is read, cut short, misnamed, and of the kinds that readers get wrong."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.mutations import generator, mutated
from hostile_parts.place import Place

FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
MUTATED = 2_000  # of each format
SECONDS = 5.0
SPARE_BYTES = 400 * 2**20  # the pixels of the largest image that is decoded, twice, and what a reader needs
Pixels = NDArray[np.uint8]


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for each format, and for each fault of images."""
    for kind in FORMATS:
        made = variants(kind)
        if not made:
            yield Row(f"{kind} files, mutated", skipped="there is no reader of it here")
            continue
        yield _row(f"{kind} files, mutated", place.count(MUTATED), Mutated(kind, made))
    yield _row("empty, cut short, or text", place.count(300), cut_short)
    yield _row("wrong extension", place.count(30), misnamed)
    yield _row("16 bits and floats", place.count(40), deep)
    yield _row("CMYK, palette, 1 bit, alpha", place.count(60), modes)
    yield _row("EXIF orientation", place.count(24), turned)
    yield _row("animations", place.count(10), animated)


def _row(name: str, count: int, attempt: Callable[[int], Found]) -> Row:
    return tried(name, count, lambda number: quietly(attempt, number), seconds=SECONDS, spare_bytes=SPARE_BYTES)


def quietly(attempt: Callable[[int], Found], number: int) -> Found:
    """Return what came of an attempt, which may write nothing to stderr, nor may the libraries below it."""
    with tempfile.TemporaryFile() as file, stderr_to(file.fileno()):
        found = attempt(number)
        file.seek(0)
        told = file.read(200)
    return Found(f"the decoder wrote {told!r}", found.size) if told and not found.fault else found


@contextmanager
def stderr_to(descriptor: int) -> Iterator[None]:
    """Send what this process and its libraries write to stderr elsewhere."""
    before = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@cache
def photograph() -> Pixels:
    """Return something with smooth parts and edges, uint8 `[48, 64, 3]`."""
    rows, columns = np.mgrid[:48, :64]
    waves = [np.sin(rows / 7 + phase) * np.cos(columns / 5) for phase in range(3)]
    pixels = np.stack(waves, axis=2) * 100 + 128
    pixels[10:20, 20:40] = (200, 30, 60)
    return pixels.astype(np.uint8)


def saved(image: Image.Image, kind: str, **choices: Any) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **choices)
    return file.getvalue()


@cache
def variants(kind: str) -> list[bytes]:
    """Return files of a format: gray, color, palette, alpha, deep, animated, compressed in its ways."""
    color = Image.fromarray(photograph())
    gray, alpha, frames = color.convert("L"), color.convert("RGBA"), [color.rotate(90), color.rotate(180)]
    deep_gray = Image.fromarray(photograph()[..., 0].astype(np.uint16) * 257)
    animation: dict[str, Any] = {"save_all": True, "append_images": frames}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    jpegs: list[dict[str, Any]] = [{}, {"progressive": True, "exif": exif}, {"subsampling": 0, "quality": 95}]
    packings = ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "raw")
    floats = Image.fromarray(photograph()[..., 0].astype(np.float32) / 255)
    images: dict[str, list[tuple[Image.Image, dict[str, Any]]]] = {
        "JPEG": [*((color, one) for one in jpegs), (gray, {}), (color.convert("CMYK"), {})],
        "PNG": [
            (one, {"exif": exif}) for one in (color, gray, alpha, deep_gray, color.convert("P"), color.convert("1"))
        ],
        "WebP": [(color, {"exif": exif}), (alpha, {"lossless": True})],
        "GIF": [(color, {}), (gray, {"interlace": 0})],
        "BMP": [(one, {}) for one in (color, gray, alpha, color.convert("P"), color.convert("1"))],
        "TIFF": [*((color, {"compression": one}) for one in packings), (gray, {}), (deep_gray, {}), (floats, {})],
        "PPM": [(one, {}) for one in (color, gray, color.convert("1"))],
        "AVIF": [(color, {"quality": 50}), (alpha, {})],
    }
    if kind == "HEIF":
        return _heif(color)
    moving = [(color, animation)] if kind in ("PNG", "WebP", "GIF", "TIFF", "AVIF") else []
    return [saved(image, kind, **choices) for image, choices in images[kind] + moving]


def _heif(color: Image.Image) -> list[bytes]:
    try:
        import pillow_heif
    except ImportError:
        return []
    file = io.BytesIO()
    pillow_heif.from_pillow(color).save(file)
    return [file.getvalue()]


class Mutated:
    """A mutated file is refused with its reason, or has pixels; where it has checksums, the right ones."""

    def __init__(self, kind: str, files: list[bytes]) -> None:
        self.kind, self.files = kind, files

    def __call__(self, number: int) -> Found:
        """Try one."""
        from firstlight.data.images import decode, image_size

        whole = self.files[number % len(self.files)]
        data = mutated(whole, generator(self.kind, number))
        found = decode(data)
        wrong = found.pixels.dtype != np.uint8 or found.pixels.ndim != 3 or found.pixels.shape[2] not in (1, 3)
        image_size(data)
        if self.kind == "PNG" and not wrong and not found.notes:
            expected = decode(whole)
            same = np.array_equal(found.pixels, expected.pixels)
            return Found("" if same else "other pixels, without a note, though a PNG has checksums", len(data))
        return Found("not pixels" if wrong else "", len(data))


def cut_short(number: int) -> Found:
    """Try a file that is empty, cut short, or text; it is refused with its reason."""
    from firstlight.data.images import decode
    from firstlight.errors import ImageError

    kind = FORMATS[number % 6]
    whole = variants(kind)[0]
    chance = generator("cut", number)
    data = chance.choice((b"", b"\0" * 100, b"cats and dogs\n" * 9, whole[: chance.randrange(len(whole) // 2)]))
    try:
        decode(data, name=f"a.{kind.lower()}")
    except ImageError as error:
        return Found("" if len(str(error)) > 10 else f"a reason of few words: {error}", len(data))
    return Found(f"half a {kind} has become a picture", len(data))


def misnamed(number: int) -> Found:
    """Try a file whose name says another format; its content decides, and it is told."""
    from firstlight.data.images import decode

    kind, other = FORMATS[number % 6], FORMATS[(number + 1 + number // 6) % 6]
    if kind == other:
        return Found()
    found = decode(variants(kind)[0], name=f"a.{other.lower()}")
    return Found("" if any("holds" in note for note in found.notes) else f"{kind} as {other}: nothing is told")


def deep(number: int) -> Found:
    """Try a ramp of more than 8 bits; it stays a ramp."""
    from firstlight.data.images import decode

    top = 2 ** (8 + number % 9) - 1
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    chosen = number % 3
    values = ramp.astype(np.float32) if chosen == 0 else np.rint(ramp * top).astype(np.uint16)
    pixels = decode(saved(Image.fromarray(values), ("TIFF", "PNG", "TIFF")[chosen])).pixels
    levels = len(np.unique(pixels))
    darkest, brightest = (pixels == 0).mean(), (pixels == 255).mean()
    if darkest > 0.5 and top < 4096 and chosen:  # 12 bits in 16 look dark, and that is told elsewhere
        return Found()
    return Found("" if levels > 100 or top < 65535 else f"{levels} levels, {darkest:.0%} black, {brightest:.0%} white")


def modes(number: int) -> Found:
    """Try an image that is no plain RGB; its pixels are those of a slow conversion of our own."""
    from firstlight.data.images import decode

    mode = ("P", "1", "RGBA", "LA", "PA", "CMYK")[number % 6]
    source = Image.fromarray(np.roll(photograph(), number, axis=1))
    if mode in ("RGBA", "LA"):
        source.putalpha(Image.fromarray(photograph()[..., 1]))
    converted = source.convert(mode)
    pixels = decode(saved(converted, "TIFF" if mode in ("CMYK", "PA") else "PNG")).pixels.astype(int)
    values = np.asarray(converted.convert("RGBA") if mode in ("RGBA", "LA", "PA") else converted.convert("RGB")).astype(
        int
    )
    if values.shape[2] == 4:
        values = np.rint((values[..., :3] * values[..., 3:] + 255 * (255 - values[..., 3:])) / 255).astype(int)
    off = np.abs(pixels - values).max()
    return Found("" if off <= 2 else f"{mode}: off by {off} levels")


def turned(number: int) -> Found:
    """Try each EXIF orientation in three formats; the pixels are upright."""
    from PIL import ImageOps

    from firstlight.data.images import decode

    exif = Image.Exif()
    exif[0x0112] = 1 + number % 8
    kind = ("JPEG", "PNG", "WebP")[number // 8]
    choices = {"lossless": True} if kind == "WebP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = saved(Image.fromarray(photograph()), kind, exif=exif, **choices)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)
    found = decode(data).pixels.astype(int)
    right = found.shape == expected.shape and np.abs(found - expected).max() <= 4
    return Found("" if right else f"{kind}, orientation {1 + number % 8}: not upright")


def animated(number: int) -> Found:
    """Try an animation; its first frame is taken, and that is told."""
    from firstlight.data.images import decode

    kind = ("GIF", "PNG", "WebP", "TIFF")[number % 4]
    found = decode(variants(kind)[-1])
    told = any("frame" in note for note in found.notes)
    return Found("" if told and found.pixels.ndim == 3 else f"{kind}: the other frames are not told")
