"""A heatmap lands on the part of the picture that it is of, whatever the way of resizing."""

import numpy as np
import pytest

from firstlight.data.images import resize_image
from firstlight.delivery.overlay import colors_of, on_picture, overlay
from firstlight.resize import seen_part

INPUT = (1, 32, 32)


@pytest.mark.parametrize("resize", ["crop", "crop:0.8", "pad", "squash"])
@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (64, 64), (31, 200)])
def test_what_is_bright_in_the_network_s_pixels_is_where_it_is_in_the_picture(resize, shape):
    height, width = shape
    part = seen_part(height, width, INPUT, resize)
    picture = np.zeros((height, width, 1), np.uint8)
    rows = slice(height // 2 - 4, height // 2 + 4)
    columns = slice(max(part.left, 0) + 2, max(part.left, 0) + 10)
    picture[rows, columns] = 255
    seen = resize_image(picture, INPUT, resize)[..., 0].astype(np.float32) / 255
    heat = on_picture(seen, part, height, width)
    row, column = np.unravel_index(np.nanargmax(np.nan_to_num(heat)), heat.shape)
    assert rows.start - 3 <= row < rows.stop + 3
    assert columns.start - 3 <= column < columns.stop + 3
    center = np.nan_to_num(heat) * (np.nan_to_num(heat) > 0.5)
    found = (
        center.sum(axis=1) @ np.arange(height) / center.sum(),
        center.sum(axis=0) @ np.arange(width) / center.sum(),
    )
    assert np.allclose(found, (rows.start + 3.5, columns.start + 3.5), atol=1.5 * max(1, part.width / 64))


@pytest.mark.parametrize(("resize", "hidden"), [("crop", 1 / 3), ("crop:0.5", 5 / 6), ("pad", 0), ("squash", 0)])
def test_what_the_network_does_not_see_is_marked(resize, hidden):
    heat = on_picture(np.ones((32, 32), np.float32), seen_part(90, 60, INPUT, resize), 90, 60)
    assert np.isnan(heat).mean() == pytest.approx(hidden)
    assert np.isfinite(heat[45, 30])


def test_a_picture_stays_gray_where_there_is_no_evidence_and_turns_red_where_there_is():
    picture = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    heat = np.zeros((8, 9), np.float32)
    heat[2, 3], heat[7] = 1, np.nan
    shown = overlay(picture, heat)
    assert (shown.shape, shown.dtype) == ((8, 9, 3), np.uint8)
    gray = (shown[..., 0] == shown[..., 1]) & (shown[..., 1] == shown[..., 2])
    assert gray.sum() == 8 * 9 - 1
    assert not gray[2, 3]
    red, green, blue = shown[2, 3].astype(int)
    assert red > green + 80
    assert red > blue + 60
    assert np.ptp(shown[7].astype(int)) < 80, "what was cut off is faded"


def test_colors_go_from_yellow_to_red():
    (low, high) = colors_of(np.array([0.0, 1.0], np.float32))
    assert low[1] > 200
    assert high[1] < 50
