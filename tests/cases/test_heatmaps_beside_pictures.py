"""Heatmaps that were drawn beside pictures are no pictures of the set, and nobody is told to remove them."""

import shutil

import pytest

from firstlight.data.sources import load_data
from firstlight.inference.inputs import find_files

SET = ["cat/1.jpg", "dog/1.jpg"]


@pytest.mark.parametrize(
    "drawn", ["heatmaps/1.heatmap.png", "cat/1.heatmap.png", "1.heatmap.png", "dog/new/1.HEATMAP.PNG"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_heatmaps_are_left_out_with_a_note(tmp_path, named, drawn, packed):
    path = named(tmp_path / "set", [*SET, drawn])
    if packed:
        path = shutil.make_archive(str(tmp_path / "packed"), "zip", path)
    data = load_data(path)
    assert data.names == tuple(SET)
    assert data.classes == ("cat", "dog")
    assert data.notes == (f"left out: 1 picture drawn by `firstlight explain`, such as {drawn}",)


def test_heatmaps_are_neither_classified_nor_explained(tmp_path, named):
    root = named(tmp_path, [*SET, "heatmaps/1.heatmap.png"])
    assert [path.removeprefix(f"{root}/") for path in find_files([str(root)])] == SET


def test_a_folder_with_pictures_beside_heatmaps_stays_a_class(tmp_path, named):
    data = load_data(named(tmp_path, [*SET, "heatmaps/1.heatmap.png", "heatmaps/2.jpg"]))
    assert data.classes == ("cat", "dog", "heatmaps")
