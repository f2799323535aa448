"""A user without HOME, account, and a cache that can be written can check a set, and paths may begin with `~`."""

from pathlib import Path

import pytest

import firstlight as fl
from firstlight import cache
from firstlight.cli import main


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    monkeypatch.setattr(cache, "_stand_ins", {})
    monkeypatch.setattr(cache, "_writable", set())
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize("where", ["given", "none", "blocked"])
def test_check_works_without_a_home(where, digit_folder, tmp_path, monkeypatch, capfd):
    place = tmp_path / "cache"
    if where == "blocked":
        place.write_text("a file where the cache should be")
    monkeypatch.setenv("FIRSTLIGHT_CACHE", "" if where == "none" else str(place))
    assert main(["check", str(digit_folder)]) == 0
    said = capfd.readouterr()
    assert "120 pictures in 10 classes" in said.out
    assert said.err.count("set FIRSTLIGHT_CACHE to a writable folder") == (where != "given")


def test_a_home_folder_may_be_written_as_a_tilde(digit_run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FIRSTLIGHT_CACHE", "~/cache")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(digit_run.folder)
    assert fl.evaluate("~/run", digit_run.record.source, split="valid").evaluation.n == digit_run.record.n["valid"]
    assert main(["predict", "~/run", "~/run/held_out.png", "--csv", "~/answers.csv"]) == 0
    assert Path("answers.csv").is_file() and Path("cache").is_dir() and not Path("~").exists()
