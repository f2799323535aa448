"""Faults of a pipeline: what most often goes wrong between the file of a picture and a network, each as pixels.

They are computed once, for the golden pictures of an export, so that a pipeline that disagrees can be told why.
"""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstlight.data.images import PAD_GRAY, decode, resize_image
from firstlight.models.classifier import Classifier
from firstlight.resize import RESIZE_METHODS, parse_resize, seen_part

UNCALIBRATED = "the probabilities are the softmax of the logits, without the temperature"
NORMALIZED = {(0.485, 0.456, 0.406): (0.229, 0.224, 0.225), (0.5,): (0.5,)}  # by others: mean and standard deviation


def faults_of(file: bytes, model: Classifier) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield each fault in words, with the pixels that a network gets from a file because of it, uint8 `[H, W, C]`.

    A fault that this picture cannot show gives the right pixels.

    Args:
        file: of a picture of 8 bits, in the mode that the network takes, perhaps transparent or turned by EXIF.
        model: of which the input size, the resize, and the normalization are used.
    """
    size, resize = model.input_size, model.resize
    upright = decode(file, max_pixels=model.max_pixels, white=model.white).pixels
    right = resize_image(upright, size, resize)
    if size[0] == 3:
        yield "red and blue are swapped (BGR instead of RGB)", right[:, :, ::-1]
    image = Image.open(io.BytesIO(file))
    bare = _pixels(image)
    if image.getexif():
        yield "the EXIF orientation is ignored", resize_image(bare, size, resize)
    if image.has_transparency_data:
        yield "what is transparent is not drawn on white", resize_image(bare, size, resize)
        black = (bare * (np.asarray(image.getchannel("A"))[:, :, None] / 255)).round().astype(np.uint8)
        yield "what is transparent is drawn on black instead of white", resize_image(black, size, resize)
    yield from _resized_otherwise(upright, model)
    if size[1] == size[2]:
        yield "rows and columns are swapped", right.swapaxes(0, 1)
    yield "pixels are 0 to 1 instead of 0 to 255", right // 255
    yield "black and white are swapped", 255 - right
    yield from _normalized_otherwise(right, model)


def rounded_otherwise(file: bytes, model: Classifier) -> NDArray[np.uint8]:
    """Return what a network gets from a file if another library resizes it correctly, here Pillow."""
    upright = decode(file, max_pixels=model.max_pixels, white=model.white).pixels
    return _scaled(_framed(upright, model), model, Image.Resampling.BILINEAR)


def _resized_otherwise(upright: NDArray[np.uint8], model: Classifier) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    size, (method, fraction) = model.input_size, parse_resize(model.resize)
    for other in RESIZE_METHODS:
        if other != method:
            yield f"the picture is resized by {other} instead of {model.resize}", resize_image(upright, size, other)
    if fraction < 1:
        yield f"the crop keeps everything instead of {fraction:g}", resize_image(upright, size, method)
    framed = _framed(upright, model)
    yield "pixels are resized to the nearest one", _scaled(framed, model, Image.Resampling.NEAREST)
    yield "the resize does not antialias", _not_antialiased(framed, size)
    if method == "crop":
        corner = upright[: framed.shape[0], : framed.shape[1]]
        yield "the crop is at the top left instead of the middle", resize_image(corner, size, "squash")


def _normalized_otherwise(right: NDArray[np.uint8], model: Classifier) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield pixels that, once the model has normalized them, are as if others had been normalized in another way."""
    mean, std = model.mean.cpu().numpy(), model.std.cpu().numpy()
    for others, deviations in NORMALIZED.items():
        if len(others) in (1, len(mean)) and not np.allclose(mean, others, atol=0.01):
            given = mean + std * (right / 255 - np.array(others)) / np.array(deviations)
            words = ", ".join(f"{one:g}" for one in others)
            yield f"pixels are normalized with mean {words}", np.clip(given * 255, 0, 255).round().astype(np.uint8)


def _framed(upright: NDArray[np.uint8], model: Classifier) -> NDArray[np.uint8]:
    """Return the part of a picture that the network sees, before it is scaled; with bars where it reaches beyond."""
    rows, columns = upright.shape[:2]
    top, left, height, width = seen_part(rows, columns, model.input_size, model.resize)
    above, before = max(0, -top), max(0, -left)
    bars = ((above, max(0, height - rows - above)), (before, max(0, width - columns - before)), (0, 0))
    whole = np.pad(upright, bars, constant_values=PAD_GRAY)
    return whole[top + above :, left + before :][:height, :width]


def _scaled(framed: NDArray[np.uint8], model: Classifier, how: Image.Resampling) -> NDArray[np.uint8]:
    channels, height, width = model.input_size
    image = Image.fromarray(framed[:, :, 0] if channels == 1 else framed).resize((width, height), how)
    return np.asarray(image).reshape(height, width, channels)


def _not_antialiased(framed: NDArray[np.uint8], size: tuple[int, int, int]) -> NDArray[np.uint8]:
    from torch import from_numpy
    from torch.nn.functional import interpolate

    image = from_numpy(np.ascontiguousarray(framed)).permute(2, 0, 1)[None].float()
    found: NDArray[np.uint8] = interpolate(image, size=size[1:], mode="bilinear")[0].round().byte().numpy()
    return found.transpose(1, 2, 0)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the colors of a picture as they are stored, uint8 `[H, W, C]`: neither turned nor drawn on white."""
    stored = np.asarray(image.convert("L" if image.mode in ("L", "LA") else "RGB"))
    return stored.reshape(*stored.shape[:2], -1)
