"""The contract of preprocessing says what the code does, and holds against a slow implementation of its own words."""

import math

import numpy as np
import pytest
from PIL import Image

from firstlight.data.images import PAD_GRAY, resize_image
from firstlight.delivery.export.contract import contract_of
from firstlight.models.classifier import Classifier


def by_the_contract(pixels, size, resize):
    """Return pixels resized as the words of the contract say, one number after the other."""
    (channels, height, width), (h, w, _) = size, pixels.shape
    method, _, fraction = resize.partition(":")
    if channels == 1 and pixels.shape[2] == 3:
        red, green, blue = pixels.astype(int).transpose(2, 0, 1)
        pixels = ((19595 * red + 38470 * green + 7471 * blue + 32768) // 65536)[:, :, None]
    elif channels == 3 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if method == "crop":
        s = float(fraction or 1) * min(h / height, w / width)
        a, b = max(1, round(height * s)), max(1, round(width * s))
        top, left = math.floor((h - a) / 2), math.floor((w - b) / 2)
        return scaled(pixels[top : top + a, left : left + b], height, width)
    if method == "squash":
        return scaled(pixels, height, width)
    s = max(h / height, w / width)
    a, b = max(1, round(h / s)), max(1, round(w / s))
    canvas = np.full((height, width, channels), PAD_GRAY)
    top, left = math.floor((height - a) / 2), math.floor((width - b) / 2)
    canvas[top : top + a, left : left + b] = scaled(pixels, a, b)
    return canvas


def scaled(pixels, height, width):
    rows = np.stack([scaled_line(row, width) for row in pixels])
    return np.stack([scaled_line(column, height) for column in rows.swapaxes(0, 1)]).swapaxes(0, 1)


def scaled_line(line, m):
    n = len(line)
    r = n / m
    q = max(r, 1)
    found = []
    for i in range(m):
        c = (i + 0.5) * r
        weights = np.maximum(1 - np.abs(np.arange(n) + 0.5 - c) / q, 0)
        found.append(np.floor((weights / weights.sum()) @ line + 0.5))
    return np.array(found)


@pytest.mark.parametrize("size", [(3, 12, 12), (1, 12, 12), (3, 9, 14)], ids=str)
@pytest.mark.parametrize("resize", ["crop", "crop:0.875", "pad", "squash"])
def test_the_words_of_the_contract_give_the_pixels_that_a_model_sees(size, resize):
    for shape in ((31, 20, 3), (7, 25, 3), (40, 41, 1), (5, 5, 3)):
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        ours = resize_image(pixels, size, resize).astype(int)
        assert np.abs(by_the_contract(pixels, size, resize) - ours).max() <= 1


def test_the_contract_tells_a_model_from_another():
    def text(**choices):
        model = Classifier(architecture={"name": "mlp"}, classes=("cat", "dog"), **choices)
        found = contract_of(model, "m.onnx", "m.onnx.golden", tolerance=0.005, pictures=3)
        assert max(map(len, found.splitlines())) <= 100 and "{" not in found
        return " ".join(found.split())

    gray = text(input_size=(1, 9, 14), resize="pad")
    assert "`[N, 9, 14, 1]`" in gray and "19595 red" in gray and f"every channel {PAD_GRAY}" in gray
    color = text(input_size=(3, 12, 12), resize="crop:0.875")
    assert "`[N, 12, 12, 3]`" in color and "three equal channels" in color and "s = 0.875 min(" in color


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientations_of_the_contract_are_those_of_pillow(orientation):
    from PIL import ImageOps

    stored = np.random.default_rng(0).integers(0, 256, (4, 6), np.uint8)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    turned = np.rot90(stored, 2)
    words = {
        1: stored,
        2: stored[:, ::-1],
        3: turned,
        4: stored[::-1],
        5: stored.T,
        6: np.rot90(stored, -1),
        7: turned.T,
        8: np.rot90(stored),
    }
    assert (np.asarray(ImageOps.exif_transpose(image)) == words[orientation]).all()
