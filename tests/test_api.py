"""What Python and the command line share: a held-out picture that, cut again, is the one that was classified."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from firstlight.api import before_the_cut
from firstlight.data.images import decode, resize_image
from firstlight.errors import ImageError
from firstlight.training.recipe import Recipe


def photograph(height, width):
    """A smooth scene with some grain, as uint8 `[H, W, 3]`."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    rng = np.random.default_rng(0)
    waves = [np.sin(2 * np.pi * (a * rows + b * columns) + c) for a, b, c in ((2, 1, 0), (1, 3, 1), (4, 2, 2))]
    return np.clip(127 + 90 * np.stack(waves, axis=2) + rng.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)


def as_jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="jpeg", quality=90)
    return file.getvalue()


def run_of(found, packed, resize, recipe=None):
    """As much of a run as is looked at: one picture, bytes of a file or pixels, and what was packed of it."""
    samples = SimpleNamespace(images=SimpleNamespace(read=lambda _: found), names=["one.jpg"])
    data = SimpleNamespace(samples=samples, store=SimpleNamespace(pixels=packed[None]))
    return SimpleNamespace(model=SimpleNamespace(resize=resize), data=data, recipe=recipe or Recipe())


@given(side=st.integers(1, 96), fraction=st.floats(0.3, 0.999), height=st.integers(20, 200), width=st.integers(20, 200))
def test_cut_again_a_image_is_what_was_packed(side, fraction, height, width):
    resize, pixels = f"crop:{fraction:.4f}", photograph(height, width)
    packed = resize_image(pixels, (3, side, side), resize)
    whole = before_the_cut(run_of(pixels, packed, resize), 0)
    assert np.array_equal(resize_image(whole, (3, side, side), resize), packed)
    assert whole.shape[:2] == (round(side / float(resize[5:])),) * 2


@pytest.mark.parametrize(("side", "fraction"), [(224, 0.875), (160, 0.95), (64, 0.875), (96, 0.9)])
def test_the_rim_goes_on_from_what_was_packed(side, fraction):
    """A photograph's file is decoded smaller for packing: no seam must be seen where its rim begins."""
    data, resize = as_jpeg(photograph(600, 900)), f"crop:{fraction}"
    packed = resize_image(decode(data, input_size=(3, side, side), resize=resize).pixels, (3, side, side), resize)
    whole = before_the_cut(run_of(data, packed, resize), 0)
    assert np.array_equal(resize_image(whole, (3, side, side), resize), packed)
    uncut = resize_image(decode(data).pixels, (3, *whole.shape[:2]), "crop")
    assert np.abs(whole.astype(int) - uncut).mean() < 8
    top = (whole.shape[0] - side) // 2
    inside = np.abs(np.diff(packed.astype(int), axis=0)).mean()
    assert np.abs(whole[top - 1].astype(int) - whole[top]).mean() < 3 * inside


@pytest.mark.parametrize("resize", ["crop", "crop:1", "pad", "squash"])
def test_where_nothing_was_cut_off_there_is_nothing_to_put_back(resize):
    assert before_the_cut(run_of(b"not even looked at", np.zeros((8, 8, 3), np.uint8), resize), 0) is None


def test_the_runs_own_limit_of_pixels_holds_here_too():
    pixels = photograph(40, 50)
    data, packed = as_jpeg(pixels), resize_image(pixels, (3, 16, 16), "crop:0.5")
    assert before_the_cut(run_of(data, packed, "crop:0.5", Recipe(max_pixels=2000)), 0).shape == (32, 32, 3)
    with pytest.raises(ImageError, match="more than the limit of 1,999"):
        before_the_cut(run_of(data, packed, "crop:0.5", Recipe(max_pixels=1999)), 0)


def test_the_users_own_array_is_left_as_it_is():
    pixels = photograph(32, 32)
    before, packed = pixels.copy(), np.zeros((16, 16, 3), np.uint8)
    before_the_cut(run_of(pixels, packed, "crop:0.5"), 0)
    assert np.array_equal(pixels, before)
