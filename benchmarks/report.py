"""Write the page of results from the JSON lines, and from nothing else."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import trust_parts.goal as trust
from part import Part
from parts import PARTS

Row = dict[str, Any]
Runs = list[Row]  # of one side
HEAD = """# Results

`make bench` writes this page from `benchmarks/results/*.jsonl`; do not edit it by hand. Sides run in turn (A B A B),
and each run is a separate process. A figure is the median of n runs, with the lowest and the highest in brackets. A
ratio is the median of the ratios of paired runs; above 1, the side in that row took longer, or did less, than the
side it is compared with. `~`: the two sides were measured at different times, and their medians are compared. `>=`:
in some of its runs the side did not reach the target, so reaching it would have taken longer. No ratio: the side to
compare with did not reach the target. Rows in which someone else wins stay here. If a part was run on several
machines, each has its own table, and ratios are only taken within a table. CPU-seconds and peak memory are those of
the whole process of a run, including its imports, its validation, and its score on the test split.
"""


class Block(NamedTuple):
    """What was measured in one session, side after side: the state of the machine, and one row per run."""

    machine: Row
    rows: list[Row]


def blocks(file: Path) -> list[Block]:
    """Read the lines of a part; each line about a machine begins a block."""
    found: list[Block] = []
    for line in file.read_text("utf-8").splitlines() if file.exists() else []:
        row = json.loads(line)
        if row.get("part") == "machine":
            found.append(Block(row, []))
        else:
            found[-1].rows.append(row)
    return found


def same_machine(one: Row, other: Row) -> bool:
    """Return whether two lines are about machines of the same kind."""
    return all(one[key] == other[key] for key in ("processor", "cores", "device", "torch"))


def by_machine(measured: list[Block]) -> list[list[Block]]:
    """Group the blocks by machine, in the order in which the machines first appear."""
    found: list[list[Block]] = []
    for block in measured:
        same = next((blocks for blocks in found if same_machine(blocks[0].machine, block.machine)), None)
        if same is None:
            found.append([block])
        else:
            same.append(block)
    return found


def page(results: Path) -> str:
    """Return the whole page."""
    sections = [section(name, part, blocks(results / f"{name}.jsonl")) for name, part in PARTS.items()]
    return "\n".join([HEAD, *sections, trust.page(results)])


def section(name: str, part: Part, measured: list[Block]) -> str:
    """Return the section of one part: title, goal, explanation, and a table for each machine."""
    lines = [f"## {part.title} (`{name}`)", "", f"Goal: {part.goal}.", "", part.words, ""]
    for here in by_machine(measured):
        lines += on_machine(part, here)
    return "\n".join(lines if measured else [*lines, "Not run yet.", ""])


def on_machine(part: Part, here: list[Block]) -> list[str]:
    """Return a line about the machine, and a table with one row per side."""
    taken = [row | {"turn": (session, row.get("seed"))} for session, block in enumerate(here) for row in block.rows]
    sides: dict[str, Runs] = defaultdict(list)
    for row in {(row["side"], row.get("seed")): row for row in taken}.values():  # the last of each
        sides[row["side"]].append(row)
    sides = dict(in_order(part, sides))
    extras = [key for key in COLUMNS if any(cell(key, runs, part) for runs in sides.values())]
    compared = [f"ratio to {part.against}"] if part.against else []
    heading = ["side", "n", f"{part.unit}", *compared, *(COLUMNS[key] for key in extras)]
    table = [heading, ["---"] * len(heading)]
    for side, runs in sides.items():
        turns = len(runs) if len(runs) > 1 else len(runs[0].get("runs", runs))
        against = (part.against or "") + "".join(side.partition(" at ")[1:])
        reference = [row for row in taken if row["side"] == against]
        ratios = [ratio(part, runs, reference)] if part.against else []
        table.append([side, str(turns), spread(runs, part.figure), *ratios, *(cell(key, runs, part) for key in extras)])
    rows = [f"| {' | '.join(cells)} |" for cells in table]
    present = {side_of(side) for side in sides}
    absent = [] if part.once else [side.name for side in part.sides if side.name not in present]
    note = [f"Not run here: {'; '.join(absent)}.", ""] if absent else []
    return [machine_line(here), "", *rows, "", *note, *limits(part, here, sides), *recipes(sides)]


def side_of(row: str) -> str:
    """Return the side that a row belongs to: `eager at batch 32` belongs to `eager`."""
    return row.partition(" at ")[0]


def in_order(part: Part, sides: dict[str, Runs]) -> list[tuple[str, Runs]]:
    """Return the sides in the order of the part, whenever they were measured."""
    places = {side.name: place for place, side in enumerate(part.sides)}
    return sorted(sides.items(), key=lambda item: places.get(side_of(item[0]), len(places)))


COLUMNS = {
    "epochs": "epochs",
    "epoch_seconds": "s per epoch",
    "valid": "validation accuracy",
    "valid_reached": "validation at the target",
    "test": "test accuracy",
    "test_reached": "test at the target",
    "agreement": "agreement",
    "images_per_second": "pictures per second",
    "trained_per_second": "pictures per second",
    "megabits": "cable, Mbit/s",
    "time_power": "power of n, time",
    "memory_power": "power of n, memory",
    "missing": "missing",
    "duplicates": "twice",
    "different": "different",
    "killed_workers": "killed workers",
    "killed_programs": "killed programs",
    "one_process_images_per_second": "in one process, per second",
    "ratio_to_best": "ratio to best",
    "loader_seconds": "loader, s",
    "over_memory": "epoch / epoch in memory",
    "packed_mb": "packed, MB",
    "allowed_mb": "allowed, MB",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "health_p99_ms": "p99 of health, ms",
    "first_mb": "memory at first, MB",
    "last_mb": "at last, MB",
    "growth_mb_per_hour": "growth, MB per hour",
    "refused": "refused",
    "kills": "kills",
    "resumed_runs": "runs",
    "identical": "identical",
    "lost_most_s": "most, s",
    "state_mb": "state, MB",
    "exit_code": "exit code",
    "first_third_mb": "peak in the first third, MB",
    "rest_mb": "peak after that, MB",
    "cpu_seconds": "CPU-s",
    "peak_mb": "peak, MB",
}
REACHED = {"valid_reached": "valid", "test_reached": "test"}
FIGURES = {part.figure for part in PARTS.values()}
PROPORTIONS = {"valid", "test"}
IMAGE_BYTES = 28 * 28  # of an image in the sets that the mlp trains on
WHOLE_PROCESS = {"cpu_seconds", "peak_mb"}  # counted for a process, which may have measured several sides


def values_of(rows: Runs, key: str) -> list[float]:
    """Return all values of a number; a script that ran all sides itself keeps them in `runs`."""
    if len(rows) == 1 and "runs" in rows[0] and key in FIGURES and key in rows[0]:
        return list(rows[0]["runs"])
    return [row[key] for row in rows if isinstance(row.get(key), int | float)]


def spread(rows: Runs, key: str) -> str:
    """Return the median and the range of a number."""
    values, write = values_of(rows, key), proportion if key in PROPORTIONS else number
    if not values:
        return ""
    return write(statistics.median(values)) + (f" [{write(min(values))}, {write(max(values))}]" if values[1:] else "")


def number(value: float) -> str:
    """Write a number with three significant figures."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 999.5 else f"{value:.3g}"


def proportion(value: float) -> str:
    """Write a proportion of images with four decimals; three figures would round it to the target."""
    return f"{value:.4f}"


def ratio(part: Part, runs: Runs, against: Runs) -> str:
    """Return how many times as much as the reference a side takes, by paired runs where there are any."""
    if not reached_by_all(part, against):
        return ""
    bound = "" if reached_by_all(part, runs) else ">= "
    reference = {row["turn"]: row for row in against}
    in_turn = [([row], [reference[row["turn"]]]) for row in runs if row["turn"] in reference]
    if in_turn:
        about, values = "", [(values_of(its, part.figure), values_of(other, part.figure)) for its, other in in_turn]
    else:
        about, values = "~ ", [([median_of(runs, part.figure)], [median_of(against, part.figure)])]
    pairs = [pair for its, others in values for pair in zip(its, others, strict=False)]
    more = [its / other if part.less_is_better else other / its for its, other in pairs if its and other]
    return f"{bound}{about}{times(statistics.median(more))}" if more else ""


def times(value: float) -> str:
    """Write a ratio."""
    return f"{value:.2f}" if value >= 0.095 else number(value)


def median_of(rows: Runs, key: str) -> float | None:
    """Return the median of a number, or None without values."""
    values = values_of(rows, key)
    return statistics.median(values) if values else None


def reached_by_all(part: Part, runs: Runs) -> bool:
    """Return whether all runs reached the target of the part on validation, if it has one."""
    return part.target is None or all(row.get("valid", 1.0) >= part.target for row in runs)


def cell(key: str, runs: Runs, part: Part) -> str:
    """Return one more column of a side."""
    if key in REACHED:
        values = values_of(runs, REACHED[key])
        return f"{sum(value >= part.target for value in values)} of {len(values)}" if part.target and values else ""
    if key in WHOLE_PROCESS and runs[0]["side"] not in {side.name for side in part.sides}:
        return ""
    return spread(runs, key)


def limits(part: Part, here: list[Block], sides: dict[str, Runs]) -> list[str]:
    """Compare an epoch of the mlp with what the machine's matrix products and memory would allow."""
    ours = [row for row in sides.get("firstlight", []) if "epoch_images" in row]
    if not ours or not part.title.startswith("mlp"):
        return []
    machines = [block.machine for block in here]
    flops, images = machines[0]["mlp_flops_per_image"], ours[0]["epoch_images"]
    dtype = ours[0].get("dtype") or max(machines[0]["gflops"], key=machines[0]["gflops"].get)
    rate = max(machine["gflops"][dtype] for machine in machines)  # the best session: a limit that no run can beat
    least = flops * images / rate / 1e9
    read = IMAGE_BYTES * images / max(machine["copy_gb_per_second"] for machine in machines) / 1e9
    taken = statistics.median(values_of(ours, "epoch_seconds"))
    return [
        f"The limit of an epoch: at {flops / 1e6:.2f} MFLOP per picture and {rate} GFLOP/s, the best rate that these "
        f"matrix products reached alone in {dtype}, an epoch takes at least {least:.2f} s. (Reading its pictures once, "
        f"at the rate of a copy, takes {read:.3f} s.) firstlight's epoch, including validation, runs at "
        f"{least / taken:.0%} of that limit.",
        "",
    ]


def machine_line(here: list[Block]) -> str:
    """Describe the machine of a part, with the rates that it had while the part was measured."""
    machine = here[0].machine
    rates = ", ".join(
        f"{name} {between([block.machine['gflops'][name] for block in here])} GFLOP/s" for name in machine["gflops"]
    )
    copied = between([block.machine["copy_gb_per_second"] for block in here])
    sessions = f" in {len(here)} sessions" if len(here) > 1 else ""
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['device']}; "
        f"measured{sessions} {rates}, copy {copied} GB/s; Python {machine['python']}, torch {machine['torch']}."
    )


def between(values: list[float]) -> str:
    """Write the range of a number that varies."""
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def recipes(sides: dict[str, Runs]) -> list[str]:
    """List what each side does, and its versions; several lines if its runs differ."""
    lines = []
    for side, runs in sides.items():
        for recipe, versions in dict.fromkeys((row.get("recipe", ""), in_words(row)) for row in runs):
            if recipe:
                lines.append(f"- {side}: {recipe}{f' ({versions})' if versions else ''}")
            elif versions:
                lines.append(f"- {side}: {versions}")
    return [*lines, ""] if lines else []


def in_words(row: Row) -> str:
    """Return the versions of a row in words."""
    return ", ".join(f"{name} {value}" for name, value in row.get("versions", {}).items())
