"""The rim that a crop cut off: put back around a packed image, and cut off again it is what was packed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from firstlight.data.image_sources import FileImages
from firstlight.data.images import decode, resize_image
from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.data.uncropped import uncropped, uncropped_image
from firstlight.errors import ImageError


def photograph(height, width):
    """Return a smooth scene with some grain, uint8 `[H, W, 3]`."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    rng = np.random.default_rng(0)
    waves = [np.sin(2 * np.pi * (a * rows + b * columns) + c) for a, b, c in ((2, 1, 0), (1, 3, 1), (4, 2, 2))]
    return np.clip(127 + 90 * np.stack(waves, axis=2) + rng.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def as_samples(tmp_path):
    """Write pixels as a JPEG and return a set of that one file."""

    def write(pixels):
        Image.fromarray(pixels).save(tmp_path / "one.jpg", quality=90)
        images = FileImages(tmp_path, ("one.jpg",))
        return Samples("one", "one", images, ("one.jpg",), np.zeros(1, np.int64), ("a", "b"), None, None, ())

    return write


@given(side=st.integers(1, 96), fraction=st.floats(0.3, 0.999), height=st.integers(20, 200), width=st.integers(20, 200))
def test_cropped_again_an_image_is_what_was_packed(side, fraction, height, width):
    resize, pixels = f"crop:{fraction:.4f}", photograph(height, width)
    packed = resize_image(pixels, (3, side, side), resize)
    whole = uncropped(pixels, packed, resize)
    assert np.array_equal(resize_image(whole, (3, side, side), resize), packed)
    assert whole.shape[:2] == (round(side / float(resize[5:])),) * 2


@pytest.mark.parametrize(("side", "fraction"), [(224, 0.875), (160, 0.95), (64, 0.875), (96, 0.9)])
def test_the_rim_goes_on_from_what_was_packed(as_samples, side, fraction):
    """A photograph's file is decoded smaller for packing: no seam must be seen where its rim begins."""
    samples, resize = as_samples(photograph(600, 900)), f"crop:{fraction}"
    data = samples.images.read(0)
    packed = resize_image(decode(data, input_size=(3, side, side), resize=resize).pixels, (3, side, side), resize)
    whole = uncropped_image(samples, 0, packed, resize)
    assert np.array_equal(resize_image(whole, (3, side, side), resize), packed)
    uncut = resize_image(decode(data).pixels, (3, *whole.shape[:2]), "crop")
    assert np.abs(whole.astype(int) - uncut).mean() < 8
    top = (whole.shape[0] - side) // 2
    inside = np.abs(np.diff(packed.astype(int), axis=0)).mean()
    assert np.abs(whole[top - 1].astype(int) - whole[top]).mean() < 3 * inside


@pytest.mark.parametrize("resize", ["crop", "crop:1", "pad", "squash"])
def test_where_nothing_was_cut_off_there_is_nothing_to_put_back_and_nothing_is_read(as_samples, tmp_path, resize):
    samples, packed = as_samples(photograph(30, 30)), np.zeros((8, 8, 3), np.uint8)
    (tmp_path / "one.jpg").unlink()
    assert uncropped(photograph(30, 30), packed, resize) is None
    assert uncropped_image(samples, 0, packed, resize) is None


def test_the_limit_of_pixels_holds_here_too(as_samples):
    samples = as_samples(photograph(40, 50))
    packed = resize_image(photograph(40, 50), (3, 16, 16), "crop:0.5")
    assert uncropped_image(samples, 0, packed, "crop:0.5", max_pixels=2000).shape == (32, 32, 3)
    with pytest.raises(ImageError, match="more than the limit of 1,999"):
        uncropped_image(samples, 0, packed, "crop:0.5", max_pixels=1999)


def test_the_users_own_array_is_left_as_it_is(digits):
    pixels, labels = digits
    before = pixels.copy()
    whole = uncropped_image(load_data((pixels, labels)), 5, np.zeros((4, 4, 1), np.uint8), "crop:0.5")
    assert whole.shape == (8, 8, 1)
    assert np.array_equal(pixels, before)
