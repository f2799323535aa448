"""The stages of `benchmarks/million.py` run, and its powers are right; how long they take is not tested."""

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "million.py"


@pytest.fixture(scope="module")
def million():
    specification = importlib.util.spec_from_file_location("million", FILE)
    module = importlib.util.module_from_spec(specification)
    sys.modules["million"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["million"]


@pytest.mark.slow
def test_all_stages_run(million, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    rows = [million.measured(stage, 400, tmp_path) for stage in million.STAGES]
    assert [row["stage"] for row in rows] == ["make", "pack", "check", "split", "train", "predict"]
    assert all(row["n"] == 400 and row["seconds"] > 0 and row["peak_mb"] > 0 for row in rows)


def test_pictures_are_the_same_every_time_and_some_are_copies(million):
    first, again = (list(million.pictures(5_100)) for _ in range(2))
    assert [len(labels) for _, labels in first] == [5000, 100]
    assert all((one[0] == other[0]).all() for one, other in zip(first, again, strict=True))
    known = {image.tobytes() for image in first[0][0]}
    assert not known & {image.tobytes() for image in first[1][0]}, "copies are near copies"


def test_the_power_of_what_grows_tenfold_with_ten_times_as_much_is_one(million):
    rows = [
        {"n": n, "stage": "pack", "processor_seconds": n / 1000, "peak_mb": 600 + n // 1000} for n in (1000, 10_000)
    ]
    assert list(million.growth(rows)) == [
        {"stage": "pack", "from": 1000, "to": 10_000, "time_power": 1.0, "memory_power": 0.01}
    ]
