"""Run folders are numbered, never overwritten, and hold whole tables."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight import unfinished
from firstlight.errors import RunError
from firstlight.runs.folder import make_run_folder, read_metrics, require_free, save_png, write_metrics


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_runs_are_numbered_from_one_on():
    assert [make_run_folder("digits").name for _ in range(3)] == ["digits-1", "digits-2", "digits-3"]
    assert make_run_folder("mnist") == Path("runs/mnist-1")


def test_an_old_run_is_never_touched_even_if_it_is_empty_or_a_file():
    Path("runs/digits-1").mkdir(parents=True)
    Path("runs/digits-2").write_text("a file")
    assert make_run_folder("digits") == Path("runs/digits-3")
    assert Path("runs/digits-2").read_text() == "a file"


def test_runs_that_start_together_get_folders_of_their_own():
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda _: make_run_folder("digits"), range(16)))
    assert len(set(folders)) == 16


def test_out_is_made_or_taken_if_empty(tmp_path):
    assert make_run_folder("digits", tmp_path / "deep" / "run") == tmp_path / "deep" / "run"
    assert make_run_folder("digits", tmp_path / "deep" / "run").is_dir()
    require_free(None)
    require_free(tmp_path / "deep" / "run")
    require_free(tmp_path / "not there yet")


def test_out_that_holds_something_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "kept").write_text("old")
    for refuse in (lambda: make_run_folder("digits", tmp_path), lambda: require_free(tmp_path)):
        with pytest.raises(RunError, match="the folder is not empty, and runs are never overwritten") as refused:
            refuse()
        assert (refused.value.field, refused.value.value) == ("out", str(tmp_path))
    assert (tmp_path / "kept").read_text() == "old"


def test_a_file_in_the_way_is_the_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=r"the run folder cannot be made \(.*\); choose another with `out`"):
            make_run_folder("digits", out)
    with pytest.raises(RunError, match="that is a file; choose a new folder") as refused:
        require_free(tmp_path / "file")
    assert refused.value.field == "out"
    Path("runs").write_text("")
    with pytest.raises(RunError, match="runs: the run folder cannot be made"):
        make_run_folder("digits")


def test_runs_that_lead_nowhere_are_an_error_and_not_an_endless_search():
    Path("runs").symlink_to("unplugged")
    with pytest.raises(RunError, match="runs: the run folder cannot be made"):
        make_run_folder("digits")


def test_metrics_are_one_row_per_epoch_and_read_back_exactly(tmp_path):
    rows = [{"epoch": 1, "valid_loss": 0.1 + 0.2}, {"epoch": 2, "valid_loss": 1e-17}]
    for count in (1, 2):
        write_metrics(tmp_path, rows[:count])
        assert (read := read_metrics(tmp_path)) == rows[:count]
        assert all(type(row["epoch"]) is int for row in read)


def test_an_empty_cell_of_the_metrics_is_not_a_number(tmp_path):
    write_metrics(tmp_path, [{"epoch": 0, "lr": None}])
    ((row),) = read_metrics(tmp_path)
    assert row["epoch"] == 0 and math.isnan(row["lr"])


@pytest.mark.parametrize(
    "damage",
    [b"epoch,lr\n1,fast\n", b"epoch,lr\none,1\n", b"lr\n1\n", b"epoch,lr\n1,2,3\n", b"epoch\n\xff\n", b'epoch\n"1\n'],
)
def test_damaged_metrics_are_an_error_of_one_line(tmp_path, damage):
    (tmp_path / "metrics.csv").write_bytes(damage)
    with pytest.raises(RunError, match="not a table of metrics") as refused:
        read_metrics(tmp_path)
    assert "\n" not in str(refused.value)


def test_metrics_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(RunError, match=r"metrics\.csv: the metrics of this run cannot be read"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_saved_without_loss_and_nothing_else_is_left(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    assert save_png(tmp_path / "held_out.png", pixels) == tmp_path / "held_out.png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "held_out.png")).reshape(pixels.shape), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["held_out.png"]


def test_a_new_run_sweeps_what_killed_runs_beside_it_left_unfinished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unfinished, "_lives", lambda process: process == 1)
    killed = make_run_folder("digits")
    for place in ("", "last", "outputs"):
        (killed / place).mkdir(exist_ok=True)
        for process in (1, 2):
            (killed / place / f".x.{unfinished._place()}-{process}-0123abcd.part").touch()
    make_run_folder("digits")
    assert [file.name.split("-")[1] for file in killed.rglob("*.part")] == ["1", "1", "1"]
