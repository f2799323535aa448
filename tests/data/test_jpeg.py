"""The short way through a JPEG gives what the long way gives: Pillow's pixels, and Pillow's opinion of damage."""

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from firstlight.data import images
from firstlight.data.images import decode
from firstlight.data.jpeg import decode_jpeg
from firstlight.errors import ImageError

KINDS = {
    "plain": {},
    "fine colors": {"subsampling": 0},
    "colors halved across": {"subsampling": 1},
    "coarse": {"quality": 5},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 4},
    "own tables": {"optimize": True},
    "no color conversion": {"keep_rgb": True},
}


def photograph(mode: str = "RGB") -> Image.Image:
    """Smooth colors with a little noise, of odd sides."""
    down, across = np.mgrid[:299, :401]
    noise = np.random.default_rng(0).integers(0, 30, (299, 401, 3))
    pixels = np.stack([down / 2, across / 2, 128 + 90 * np.sin(down / 9 + across / 17)], axis=2) + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert(mode)


def jpeg(mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    photograph(mode).save(file, "JPEG", **options)
    return file.getvalue()


def outcome(data: bytes, monkeypatch, *, short: bool, side: int | None = None) -> object:
    """What decoding gives, or why it gives nothing; without the short way if it is closed."""
    with monkeypatch.context() as patch:
        if not short:
            patch.setattr(images, "decode_jpeg", lambda _image, _data: None)
        try:
            image = decode(data, input_size=side and (3, side, side))
        except ImageError as error:
            return str(error)
        return image.pixels.tobytes(), image.pixels.shape, image.size, image.mode, image.notes


@pytest.mark.parametrize("divided", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_short_way_gives_pillows_pixels(mode, kind, divided):
    data = jpeg(mode, **KINDS[kind])
    asked = (401 // divided, 299 // divided)
    image, oracle = JpegImageFile(io.BytesIO(data)), JpegImageFile(io.BytesIO(data))
    image.draft(None, asked)
    oracle.draft(None, asked)
    assert divided == 1 or image.size != (401, 299)
    pixels = decode_jpeg(image, data)
    assert pixels is not None and pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, np.asarray(oracle).reshape(pixels.shape))


def test_other_colors_and_damage_are_left_to_pillow():
    whole = jpeg()
    for data in (jpeg("CMYK"), whole[: len(whole) // 2], whole[:-2], whole[:600] + b"\xff\xd9" + whole[600:]):
        assert decode_jpeg(JpegImageFile(io.BytesIO(data)), data) is None
    assert decode_jpeg(JpegImageFile(io.BytesIO(whole)), whole) is not None


@given(st.data())
@settings(max_examples=150)
def test_damaged_files_come_to_the_same_end_on_both_ways(data):
    damaged = bytearray(
        jpeg(data.draw(st.sampled_from(["RGB", "L"])), **KINDS[data.draw(st.sampled_from(list(KINDS)))])
    )
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(2, len(damaged) - 1) | st.integers(2, 700))
        length = data.draw(st.sampled_from([0, 1, 1, 7]))
        damaged[start : start + length] = data.draw(st.binary(max_size=7))
    file, side = bytes(damaged), data.draw(st.sampled_from([None, 30, 100]))
    with pytest.MonkeyPatch.context() as patch:
        assert outcome(file, patch, short=True, side=side) == outcome(file, patch, short=False, side=side)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_tiny_images_too_are_pillows(mode):
    for height, width in itertools.product(range(1, 11), repeat=2):
        file = io.BytesIO()
        photograph(mode).crop((90, 40, 90 + width, 40 + height)).save(file, "JPEG")
        found = decode(file.getvalue()).pixels
        np.testing.assert_array_equal(found, np.asarray(Image.open(file)).reshape(found.shape))
