"""Real processes of Ray, one of which is ended again and again by the same picture."""

import os
from pathlib import Path

import pyarrow.dataset
import pytest
from PIL import Image

from firstlight.inference.inputs import items_in
from firstlight.inference.predictor import Predictor
from firstlight.integrations.ray_data.listing import SMALLEST
from firstlight.integrations.ray_data.predict import predict_to_parquet
from firstlight.integrations.ray_data.tries import CRASHED
from firstlight.models.model_file import load_model

pytestmark = pytest.mark.slow

PICTURES = SMALLEST + 1  # the last one has a block of its own, so that it ends two processes, not six

# Python runs this in every process that Ray starts; whoever looks at the picture `poison.png` is killed.
POISON = """
import os, signal

stat = os.stat

def deadly(path, *others, **more):
    if str(path).endswith("poison.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return stat(path, *others, **more)

os.stat = deadly
"""


def processes_with(word: str) -> list[str]:
    """Return the commands of living processes that hold a word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ")
        except OSError:
            continue
        if word in command:
            found.append(command)
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_a_picture_that_ends_its_process_costs_one_row_and_nothing_is_left(digit_run, digits, tmp_path, monkeypatch):
    pictures, site = tmp_path / "pictures", tmp_path / "site"
    pictures.mkdir()
    site.mkdir()
    for row in range(PICTURES):
        Image.fromarray(digits[0][row]).save(pictures / f"{row:03d}.png")
    last = pictures / f"{PICTURES - 1:03d}-poison.png"
    (pictures / f"{PICTURES - 1:03d}.png").rename(last)
    (site / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    model = load_model(digit_run.folder / "model.safetensors")

    written = predict_to_parquet(model, items_in([str(pictures)]), tmp_path / "out", workers=1)

    rows = pyarrow.dataset.dataset(tmp_path / "out", format="parquet").to_table().to_pylist()
    assert written.images == len(rows) == PICTURES
    assert [row["image"] for row in rows] == [str(file) for file in sorted(pictures.iterdir())]
    assert [(row["image"], row["error"]) for row in rows if row["error"]] == [(str(last), CRASHED)]
    for row, one in zip(rows, Predictor(model).predict_files([str(pictures)]), strict=True):
        if row["error"] is None:
            assert (row["label"], row["unsure"]) == (one.label, one.unsure)
            assert row["probability"] == pytest.approx(one.probability, abs=1e-6)
    assert not processes_with(f"firstlight-{os.getpid()}-")
    assert not list(Path("/tmp").glob(f"firstlight-{os.getpid()}-*"))
