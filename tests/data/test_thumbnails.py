"""Thumbnails are whole originals, of the right side up, at most 256 pixels wide and high."""

import numpy as np
import pytest
from PIL import Image

from firstlight.data.sources import load_data
from firstlight.data.thumbnails import SIDE, thumbnail


@pytest.fixture
def folder(tmp_path):
    rows, columns = np.mgrid[:600, :900]
    scene = np.stack([rows // 3, columns // 4, 255 - rows // 3], axis=2).astype(np.uint8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Image.fromarray(scene).save(tmp_path / "a" / "wide.jpg", quality=95)
    Image.fromarray(scene[:, :, 0].T.copy()).save(tmp_path / "a" / "high.png")
    Image.fromarray(scene[:40, :30]).save(tmp_path / "b" / "small.png")
    Image.fromarray(scene[:40, :30]).save(tmp_path / "b" / "gone.png")
    return tmp_path, scene


def test_large_originals_become_smaller_whole_and_small_ones_stay(folder):
    root, scene = folder
    samples = load_data(root)
    (root / "b" / "gone.png").unlink()
    found = {name: thumbnail(samples, row) for row, name in enumerate(samples.names)}
    assert found["b/gone.png"] is None
    assert np.array_equal(found["b/small.png"], scene[:40, :30])
    assert found["a/high.png"].shape == (SIDE, 171, 1)
    wide = found["a/wide.jpg"]
    assert wide.shape == (171, SIDE, 3)
    rows, columns = (np.linspace(0, size - 1, count).astype(int) for size, count in ((600, 171), (900, SIDE)))
    assert np.abs(wide.astype(int) - scene[np.ix_(rows, columns)]).mean() < 4
    assert thumbnail(samples, samples.names.index("a/wide.jpg"), max_pixels=1000) is None


def test_arrays_are_their_own_originals():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    samples = load_data((images, [0, 0, 1, 1]))
    assert np.array_equal(thumbnail(samples, 2), images[2])
