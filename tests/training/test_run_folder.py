"""Run folders are numbered, never overwritten, and hold whole tables."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from firstlight.errors import RunError
from firstlight.training.run_folder import make_run_folder, write_metrics


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


def test_out_that_holds_something_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "kept").write_text("old")
    with pytest.raises(RunError, match="the folder is not empty, and runs are never overwritten"):
        make_run_folder("digits", tmp_path)
    assert (tmp_path / "kept").read_text() == "old"


def test_a_file_in_the_way_is_the_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=r"the run folder cannot be made \(.*\); name another with --out"):
            make_run_folder("digits", out)
    Path("runs").write_text("")
    with pytest.raises(RunError, match="runs: the run folder cannot be made"):
        make_run_folder("digits")


def test_runs_that_lead_nowhere_are_an_error_and_not_an_endless_search():
    Path("runs").symlink_to("unplugged")
    with pytest.raises(RunError, match="runs: the run folder cannot be made"):
        make_run_folder("digits")


def test_metrics_are_a_row_an_epoch_that_read_back_exactly(tmp_path):
    rows = [{"epoch": 1, "valid_loss": 0.1 + 0.2}, {"epoch": 2, "valid_loss": 1e-17}]
    for count in (1, 2):
        write_metrics(tmp_path, rows[:count])
        with (tmp_path / "metrics.csv").open(newline="") as file:
            read = [
                {"epoch": int(row["epoch"]), "valid_loss": float(row["valid_loss"])} for row in csv.DictReader(file)
            ]
        assert read == rows[:count]
