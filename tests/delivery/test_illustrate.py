"""The pictures of a run are there, and the held-out picture is the one that was classified."""

import numpy as np
from PIL import Image

from firstlight.delivery.illustrate import illustrate


def test_a_run_gets_its_pictures(digit_run, tmp_path):
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
