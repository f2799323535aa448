"""The size of a set is that of its images, by their headers, and costs no decoding."""

import io

import numpy as np
import pytest
from PIL import Image

from firstlight.data.images import image_size
from firstlight.data.sizes import SAMPLED_IMAGES, median_sides
from firstlight.data.sources import load_data
from firstlight.errors import ImageError


def encoded(width, height, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_header_says_height_and_width(kind):
    assert image_size(encoded(30, 20, kind)) == (20, 30)


def test_nothing_is_decoded():
    whole = encoded(3000, 2000)
    assert image_size(whole[:100]) == (2000, 3000), "the pixels are not even there"


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_has_no_header_is_told_as_any_unusable_image(content):
    with pytest.raises(ImageError):
        image_size(content)


def test_the_sides_are_medians_and_broken_images_do_not_count(tmp_path):
    for name, sizes in {"a": [(10, 20), (30, 40)], "b": [(50, 600)]}.items():
        (tmp_path / name).mkdir()
        for number, (width, height) in enumerate(sizes):
            (tmp_path / name / f"{number}.png").write_bytes(encoded(width, height))
    (tmp_path / "b" / "broken.png").write_bytes(b"broken")
    assert median_sides(load_data(tmp_path)) == (40, 30)


def test_arrays_have_the_size_that_they_have():
    images = np.zeros((4, 7, 9, 3), np.uint8)
    assert median_sides(load_data((images, np.arange(4) % 2))) == (7, 9)


def test_of_a_set_nobody_can_read_the_size_is_not_known(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "broken.png").write_bytes(b"broken")
    assert median_sides(load_data(tmp_path)) is None


def test_of_a_large_set_only_some_images_are_looked_at(digit_folder, monkeypatch):
    samples, looked_at = load_data(digit_folder), []
    read = samples.images.read
    monkeypatch.setattr(samples.images, "read", lambda row: looked_at.append(row) or read(row))
    assert len(samples) > SAMPLED_IMAGES
    assert median_sides(samples) == (8, 8)
    assert len(looked_at) == SAMPLED_IMAGES
    assert {0, len(samples) - 1} <= set(looked_at), "they are spread over the whole set"
