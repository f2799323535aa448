"""The pictures of a run are there, and the held-out picture is the one that was classified."""

import numpy as np
import pytest
from PIL import Image

from firstlight.delivery.illustrate import illustrate


def test_a_run_gets_its_images(digit_run, tmp_path):
    (tmp_path / "metrics.csv").write_bytes((digit_run.folder / "metrics.csv").read_bytes())
    row = int(digit_run.data.split.test[0])
    written = illustrate(
        tmp_path,
        model=digit_run.model,
        evaluation=digit_run.test,
        mistakes=digit_run.mistakes,
        pixels=digit_run.data.store.pixels,
        example=(row, int(digit_run.data.samples.labels[row])),
    )
    assert [path.name for path in written] == [
        "confusion.png", "mistakes.png", "view_classify.png", "held_out.png", "curves.png",
    ]  # fmt: skip
    *figures, held_out_file, curves = written
    for path in (*figures, curves):
        drawn = np.asarray(Image.open(path).convert("L"))
        assert min(drawn.shape) > 100
        assert 0.005 < (drawn < 128).mean() < 0.9, "a figure is neither empty nor full"
    held_out = np.asarray(Image.open(held_out_file))
    assert np.array_equal(held_out, digit_run.data.store.pixels[row, ..., 0])


def drawn_into(folder, run, **more):
    row = int(run.data.split.test[0])
    return illustrate(
        folder,
        model=run.model,
        evaluation=run.test,
        mistakes=run.mistakes,
        pixels=run.data.store.pixels,
        example=(row, int(run.data.samples.labels[row])),
        **more,
    )


RUNGS = [("majority class", 0.1, 0.05, 0.2, 0.0, False), ("linear head", 0.9, 0.8, 0.95, 12.0, True)]
CURVE = [(50, 0.7, 0.6, 0.8), (100, 0.8, 0.7, 0.9)], [(200, 0.85)]


@pytest.mark.parametrize(
    ("epochs", "curves"), [(["0"], []), (["0", "1"], ["curves.png"]), (["1", "2"], ["curves.png"])]
)
def test_curves_are_drawn_of_epochs_and_not_of_what_stood_before_them(epochs, curves, digit_run, tmp_path):
    heading, *rows = (digit_run.folder / "metrics.csv").read_text().splitlines()
    columns = rows[0].partition(",")[2]
    (tmp_path / "metrics.csv").write_text("\n".join([heading, *(f"{epoch},{columns}" for epoch in epochs)]) + "\n")
    written = drawn_into(tmp_path, digit_run)
    assert [path.name for path in written][4:] == curves
    assert {path.name for path in written} == {path.name for path in tmp_path.glob("*.png")}


def test_a_ladder_and_a_learning_curve_are_drawn_where_there_are_any(digit_run, tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch\n0\n")
    ladder, curve = drawn_into(tmp_path, digit_run, rungs=RUNGS, curve=CURVE)[4:]
    assert (ladder.name, curve.name) == ("ladder.png", "learning_curve.png")
    for path in (ladder, curve):
        drawn = np.asarray(Image.open(path).convert("L"))
        assert min(drawn.shape) > 100
        assert 0.005 < (drawn < 128).mean() < 0.9, "a figure is neither empty nor full"


def test_a_held_out_image_with_its_rim_is_what_is_written(digit_run, tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch\n0\n")
    whole = np.arange(10 * 10, dtype=np.uint8).reshape(10, 10, 1)
    drawn_into(tmp_path, digit_run, held_out=whole)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "held_out.png")), whole[..., 0])
