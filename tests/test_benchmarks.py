"""The benchmarks run (they are not timed here), and the page says what the rows say."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = {  # the parts, and which of their sides; an empty list stands for the one that there is
    "mlp-mnist": ["firstlight, first run", "tutorial"], "packing": [], "loader": [], "startup": [], "busy": [],
    "forward": ["firstlight", "firstlight, onnx", "onnxruntime, normalized beforehand", "eager"],
    "transfer": ["firstlight, first run", "tutorial"],
}  # fmt: skip


def smoke(parts: Iterable[str], sides: Iterable[str], folder: Path) -> dict[str, list[dict]]:
    """Run parts on next to nothing, in one process for all; return the lines that each of them wrote."""
    command = [sys.executable, str(BENCHMARKS / "bench.py"), *parts, "--smoke", "--results", str(folder)]
    done = subprocess.run([*command, "--sides", *sides], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {part: [json.loads(line) for line in (folder / f"{part}.jsonl").read_text().splitlines()] for part in parts}


def machine_line(processor: str) -> dict:
    """What `machine.py` says of a machine."""
    return {
        "part": "machine", "processor": processor, "cores": 2, "memory_gb": 1, "device": "no GPU",
        "gflops": {"float32": 1}, "copy_gb_per_second": 1, "python": "3", "torch": "2", "mlp_flops_per_image": 1,
    }  # fmt: skip


def test_a_contest_runs_and_its_page_tells_what_was_run_and_what_was_not(tmp_path):
    machine, *rows = smoke(["mlp-mnist"], ["firstlight"], tmp_path / "results")["mlp-mnist"]
    assert_measured("mlp-mnist", machine, rows)
    assert [row["side"] for row in rows] == ["firstlight"]
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.count("\n| side | n |") == 1
    parts, _ = page.split("\n## Trust")
    assert parts.count("\nNot run yet.\n") == parts.count("\n## ") - 1 > 0
    assert "| firstlight | 1 |" in page
    assert "tutorial; lightning; keras-torch; keras-jax; skorch; fastai; fastai, tuned; scikit-learn." in page


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """What each of the parts wrote."""
    sides = {side for part, own in SMALL.items() for side in own or [part]}
    return smoke(SMALL, sides, tmp_path_factory.mktemp("bench") / "results")


@pytest.mark.slow
@pytest.mark.parametrize("part", SMALL)
def test_each_part_runs_and_says_what_it_took(part, lines):
    machine, *rows = lines[part]
    assert_measured(part, machine, rows)
    if sides := SMALL[part]:
        assert {row["side"].partition(" at batch")[0] for row in rows} >= set(sides)
    if part == "mlp-mnist":
        assert_a_fair_contest(rows)
    if part == "forward":
        agreement = {row["side"]: row["agreement"] for row in rows}
        assert agreement["eager at batch 32"] == 1.0
        assert agreement["firstlight at batch 1"] >= 0.75  # of eight images of noise


def assert_measured(part: str, machine: dict, rows: list[dict]) -> None:
    assert machine["gflops"]["float32"] > 0
    assert rows
    assert all(row["part"] == part and row["cpu_seconds"] > 0 and row["peak_mb"] > 50 for row in rows)


def assert_a_fair_contest(rows: list[dict]) -> None:
    """All sides train on the same images."""
    assert len({row["epoch_images"] for row in rows if "epoch_images" in row}) == 1
    assert all(0 < row["test"] <= 1 and row["seconds"] > 0 for row in rows)  # one epoch teaches some sides little


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import report

    return report


@pytest.fixture
def page_of(tmp_path, report):
    """Write lines to a part's file, and give the page."""

    def write(part, *lines):
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return report.page(tmp_path)

    return write


def runs_of(side, seconds, **more):
    """Rows of a side, a seed each; all came to any target on validation."""
    return [{"side": side, "seed": seed, "seconds": one, "valid": 1.0} | more for seed, one in enumerate(seconds)]


def test_a_figure_is_the_median_and_a_ratio_that_of_the_ratios_run_by_run(page_of):
    ours, theirs = runs_of("firstlight", [1.0, 2.0, 4.0]), runs_of("fastai", [3.0, 4.0, 2.0])
    for row in (ours[0], theirs[0]):
        row["test"] = 0.97
    for row in (*ours[1:], *theirs[1:]):
        row["test"] = 0.985
    page = page_of("mlp-mnist", machine_line("p"), *ours, *theirs)
    scores = "1.0000 [1.0000, 1.0000] | 3 of 3 | 0.9850 [0.9700, 0.9850] | 2 of 3 |"
    assert f"| firstlight | 3 | 2 [1, 4] | 1.00 | {scores}" in page
    assert f"| fastai | 3 | 3 [2, 4] | 2.00 | {scores}" in page  # of 3, 2 and 0.5; the medians' would be 1.5


def test_a_row_in_which_a_peer_wins_stays(page_of):
    ours, theirs = runs_of("firstlight", [1.0, 2.0, 4.0]), runs_of("fastai", [0.5, 0.5, 2.0])
    assert "| fastai | 3 | 0.5 [0.5, 2] | 0.50 |" in page_of("mlp-mnist", machine_line("p"), *ours, *theirs)


def test_who_stops_short_of_the_target_has_only_a_bound_and_nobody_is_held_against_one_who_did(page_of):
    ours, theirs = runs_of("firstlight", [1.0, 1.0]), runs_of("tutorial", [8.0, 8.0])
    theirs[1]["valid"] = 0.979
    page = page_of("mlp-mnist", machine_line("p"), *ours, *theirs)
    assert "| tutorial | 2 | 8 [8, 8] | >= 8.00 | 0.9895 [0.9790, 1.0000] | 1 of 2 |" in page
    ours[0]["valid"] = 0.979
    page = page_of("mlp-mnist", machine_line("p"), *ours, *theirs)
    assert "| tutorial | 2 | 8 [8, 8] |  | 0.9895 [0.9790, 1.0000] | 1 of 2 |" in page


def test_what_was_measured_at_another_hour_is_marked(page_of):
    ours, theirs = runs_of("firstlight", [1.0, 2.0, 3.0]), runs_of("skorch", [10.0])
    page = page_of("mlp-mnist", machine_line("p"), *theirs, machine_line("p"), *ours)
    assert "| skorch | 1 | 10 | ~ 5.00 |" in page
    assert page.index("| firstlight |") < page.index("| skorch |"), "the order is the part's"
    assert page.count("| side | n |") == 1
    assert "measured in 2 sessions float32 1 GFLOP/s" in page


def test_a_side_that_does_less_has_a_ratio_above_one_and_scripts_with_turns_of_their_own_are_taken_turn_by_turn(
    page_of,
):
    rows = [
        {"side": side, "seed": 0, "images_per_cpu_second": 5.0, "runs": runs, "cpu_seconds": 9.0}
        for side, runs in (("firstlight pack", [2.0, 6.0, 9.0]), ("torchvision PIL", [1.0, 2.0, 9.0]))
    ]
    page = page_of("packing", machine_line("p"), *rows)
    assert "| torchvision PIL | 3 | 2 [1, 9] | 2.00 |\n" in page
    assert "| CPU-s |" not in page.split("## photographs")[1].split("## ")[0], "one process ran all sides"


def test_each_batch_size_is_held_against_its_own(page_of):
    rates = {"firstlight at batch 32": 90.0, "firstlight at batch 1": 70.0, "eager at batch 1": 35.0}
    rows = [{"side": side, "seed": 0, "images_per_cpu_second": rate} for side, rate in rates.items()]
    page = page_of("forward", machine_line("p"), *rows)
    assert "| eager at batch 1 | 1 | 35 | 2.00 |" in page
    assert (
        "Not run here: firstlight, onnx; onnxruntime; onnxruntime, normalized beforehand; eager, memory kept; openvino."
        in page
    )


def test_a_ratio_too_small_for_two_decimals_keeps_its_figures(page_of):
    rates = {"firstlight pack": 300.0, "decode alone": 700.0, "firstlight epoch": 30_000.0}
    rows = [{"side": side, "seed": 0, "images_per_cpu_second": rate} for side, rate in rates.items()]
    page = page_of("packing", machine_line("p"), *rows)
    assert "| firstlight epoch | 1 | 30,000 | 0.01 |" in page
    assert "| decode alone | 1 | 700 | 0.43 |" in page
    rows[2]["images_per_cpu_second"] = 36_000.0
    assert "| firstlight epoch | 1 | 36,000 | 0.00833 |" in page_of("packing", machine_line("p"), *rows)


def test_a_smoke_run_leaves_the_results_alone(monkeypatch, report):
    import bench

    places = []
    monkeypatch.setattr(bench, "run_part", lambda name, part, choices: places.append(choices.results))
    monkeypatch.setattr(sys, "argv", ["bench.py", "startup", "--smoke"])
    before = (BENCHMARKS / "RESULTS.md").read_text()
    bench.main()
    assert BENCHMARKS not in places[0].parents
    assert (places[0].parent / "RESULTS.md").exists()
    assert (BENCHMARKS / "RESULTS.md").read_text() == before


def test_a_word_stands_for_all_parts_that_begin_with_it_and_each_has_its_script(report):
    import bench

    scale = bench.named("scale")
    assert len(scale) > 3
    assert set(scale) == {name for name in report.PARTS if name.startswith("scale-")}
    assert (bench.named("serve"), bench.named("nothing")) == (["serve"], ["nothing"])
    for name in scale:
        for side in report.PARTS[name].sides:
            assert (BENCHMARKS / side.command[0]).is_file()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(999.6, "1,000"), (998.4, "998"), (12345.6, "12,346"), (3, "3"), (2.7, "2.7"), (0.00583, "0.00583"), (0.0, "0")],
)
def test_numbers_have_three_figures(report, value, shown):
    assert report.number(value) == shown


def test_the_limit_is_that_of_the_number_type_that_was_used(page_of):
    machine = machine_line("p") | {"gflops": {"float32": 100, "bfloat16": 400}, "mlp_flops_per_image": 2_000_000}
    row = runs_of("firstlight", [9.0], epoch_images=100_000, epoch_seconds=4.0, dtype="float32")[0]
    page = page_of("mlp-mnist", machine, row)
    assert "and 100 GFLOP/s, the best rate that these matrix products reached alone in float32" in page
    assert "an epoch takes at least 2.00 s." in page
    assert "runs at 50% of that limit." in page
    assert "an epoch takes at least 0.50 s." in page_of("mlp-mnist", machine, row | {"dtype": "bfloat16"})


def test_the_limit_is_that_of_the_best_hour_so_that_no_run_beats_it(page_of):
    slow = machine_line("p") | {"gflops": {"float32": 50}, "mlp_flops_per_image": 2_000_000}
    quick = slow | {"gflops": {"float32": 200}}
    rows = runs_of("firstlight", [9.0, 9.0], epoch_images=100_000, epoch_seconds=2.0)
    page = page_of("mlp-mnist", slow, rows[0], quick, rows[1])
    assert "an epoch takes at least 1.00 s." in page
    assert "runs at 50% of that limit." in page


def test_the_counted_operations_are_those_that_a_training_step_does(report):
    from torch.nn.functional import cross_entropy
    from torch.utils.flop_counter import FlopCounterMode

    import machine
    from firstlight.models.networks import mlp

    network, images = mlp((1, 28, 28), 10), 4
    with FlopCounterMode(display=False) as counter:
        cross_entropy(network(torch.zeros(images, 1, 28, 28)), torch.zeros(images, dtype=torch.long)).backward()
    assert machine.mlp_flops() == counter.get_total_flops() / images


def test_recipes_and_versions_are_told_once_each_and_all_of_them_where_runs_differ(page_of):
    rows = runs_of("firstlight", [1.0, 1.0, 1.0], recipe="a way", versions={"torch": "2"})
    page = page_of("mlp-mnist", machine_line("p"), *rows)
    assert page.count("- firstlight: a way (torch 2)\n") == 1
    rows[2]["recipe"] = "another way"
    page = page_of("mlp-mnist", machine_line("p"), *rows)
    assert "- firstlight: a way (torch 2)\n- firstlight: another way (torch 2)\n" in page


def test_each_machine_has_its_table(page_of):
    one, other = machine_line("one"), machine_line("other")
    page = page_of("mlp-mnist", one, *runs_of("firstlight", [1.0]), other, *runs_of("fastai", [2.0]))
    assert page.count("| side | n |") == 2
    assert page.index("Machine: one") < page.index("| firstlight | 1 | 1 | 1.00 |") < page.index("Machine: other")
    assert "| fastai | 1 | 2 |  |" in page, "a ratio across machines means nothing"


def test_a_new_run_replaces_what_the_same_machine_measured_before_of_its_sides_and_seeds_and_nothing_else(report):
    import bench

    one, other = machine_line("one"), machine_line("other")
    fast, slow = runs_of("firstlight", [1.0, 2.0]), runs_of("tutorial", [100.0])
    before = [report.Block(one, [*fast, *slow]), report.Block(other, fast)]
    now = report.Block(one | {"gflops": {"float32": 2}}, runs_of("firstlight", [0.5]))
    assert bench.without(before, now, None) == [report.Block(one, [fast[1], *slow]), report.Block(other, fast)]
    assert bench.without(before, now, "firstlight") == before, "the tutorial was run in turn with it"
    everything = report.Block(one, [*runs_of("firstlight", [0.5, 0.5]), *runs_of("tutorial", [50.0])])
    assert bench.without(before, everything, "firstlight") == [report.Block(other, fast)]


def test_a_side_is_held_against_what_was_run_in_turn_with_it_and_shown_as_it_was_run_last(page_of):
    machine, slow = machine_line("p"), runs_of("tutorial", [100.0])
    then, now = runs_of("firstlight", [4.0]), runs_of("firstlight", [2.0])
    page = page_of("mlp-mnist", machine, *then, *slow, machine, *now)
    assert "| firstlight | 1 | 2 | 1.00 |" in page
    assert "| tutorial | 1 | 100 | 25.00 |" in page


def test_a_machine_is_known_by_the_best_it_was_seen_to_do(report):
    import bench

    quick = machine_line("p") | {"gflops": {"float32": 9}, "copy_gb_per_second": 1}
    slow = machine_line("p") | {"gflops": {"float32": 5}, "copy_gb_per_second": 3}
    assert bench.at_its_best({}, slow) == slow
    for first, second in ((quick, slow), (slow, quick)):
        best = bench.at_its_best(first, second)
        assert (best["gflops"]["float32"], best["copy_gb_per_second"]) == (9, 3)
