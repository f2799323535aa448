"""The benchmarks run (they are not timed here), and the page says what the rows say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = ["mlp-mnist", "cnn-mnist", "loader", "forward", "startup", "busy", "transfer"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks") / "results"
    command = [sys.executable, str(BENCHMARKS / "bench.py"), *SMALL, "--smoke", "--results", str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


def machine_line(processor: str) -> dict:
    """What `machine.py` says of a machine."""
    return {
        "part": "machine", "processor": processor, "cores": 2, "memory_gb": 1, "device": "no GPU",
        "gflops": {"float32": 1}, "copy_gb_a_second": 1, "python": "3", "torch": "2", "mlp_flops_a_picture": 1,
    }  # fmt: skip


def rows_of(results, part):
    machine, *rows = [json.loads(line) for line in (results / f"{part}.jsonl").read_text().splitlines()]
    return machine, rows


@pytest.mark.parametrize("part", SMALL)
def test_each_part_runs_and_says_what_it_took(results, part):
    machine, rows = rows_of(results, part)
    assert machine["gflops"]["float32"] > 0
    assert rows
    assert all(row["part"] == part and row["cpu_seconds"] > 0 and row["peak_mb"] > 50 for row in rows)


def test_every_side_of_a_contest_trains_on_the_same_pictures(results):
    _, rows = rows_of(results, "mlp-mnist")
    assert {row["side"] for row in rows} >= {"firstlight", "firstlight, first run", "firstlight, next run", "tutorial"}
    assert len({row["epoch_pictures"] for row in rows if "epoch_pictures" in row}) == 1
    assert all(0 < row["test"] <= 1 and row["seconds"] > 0 for row in rows)  # one epoch teaches some sides little


def test_the_ready_network_answers_as_eager_does(results):
    _, rows = rows_of(results, "forward")
    agreement = {row["side"]: row["agreement"] for row in rows}
    assert agreement["eager at batch 32"] == 1.0
    assert agreement["firstlight at batch 1"] >= 0.75  # of eight pictures of noise


def test_the_page_has_a_table_for_each_part(results):
    page = (results.parent / "RESULTS.md").read_text()
    assert page.count("\n## ") == len(SMALL)
    assert "| firstlight | 1 |" in page


def test_ratios_are_run_by_run_and_the_page_keeps_a_row_in_which_a_peer_wins(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import report

    machine = machine_line("p")
    seconds = {"firstlight": [1.0, 2.0, 4.0], "fastai": [3.0, 4.0, 2.0]}
    rows = [
        {"side": side, "seed": seed, "seconds": value, "test": 0.985 if seed else 0.97, "reached": True}
        for side, values in seconds.items()
        for seed, value in enumerate(values)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in [machine, *rows])
    (tmp_path / "mlp-mnist.jsonl").write_text(lines)
    page = report.page(tmp_path)
    assert "| firstlight | 3 | 2 [1, 4] | 1.00 | 0.9800 [0.9700, 0.9850] | 2 of 3 |" in page
    assert "| fastai | 3 | 3 [2, 4] | 2.00 | 0.9800 [0.9700, 0.9850] | 2 of 3 |" in page
    rows[3]["seconds"] = rows[4]["seconds"] = 0.5
    (tmp_path / "mlp-mnist.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [machine, *rows]))
    assert "| fastai | 3 | 0.5000 [0.5000, 2] | 0.50 | 0.9800 [0.9700, 0.9850] | 2 of 3 |" in report.page(tmp_path)


def test_each_machine_has_its_table_and_a_new_run_replaces_only_its_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import bench
    import report

    one, other = machine_line("one"), machine_line("other")
    rows = [{"side": "firstlight", "seed": 0, "seconds": seconds} for seconds in (1.0, 2.0)]
    file = tmp_path / "mlp-mnist.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [one, rows[0], other, rows[1]]))
    page = report.page(tmp_path)
    assert page.count("| side | n |") == 2
    assert page.index("Machine: one") < page.index("| firstlight | 1 | 1 |") < page.index("Machine: other")
    kept = report.blocks(file)
    assert bench.parted(kept, one, keep=True) == ([other, rows[1]], [one, rows[0]])
    assert bench.parted(kept, one, keep=False) == ([other, rows[1]], [one])
    assert bench.parted(kept, machine_line("third"), keep=True) == (
        [one, rows[0], other, rows[1]],
        [machine_line("third")],
    )
    assert bench.parted(report.blocks(tmp_path / "nothing"), one, keep=True) == ([], [one])
