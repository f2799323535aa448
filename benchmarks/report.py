"""The page of results, written from the JSON lines and from nothing else."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from parts import PARTS, Part

Row = dict[str, Any]
Runs = list[Row]  # of one side
HEAD = """# Results

Written by `make bench` from `benchmarks/results/*.jsonl`; not to be edited. Sides are run in turn (A B A B), each run a
process of its own. A figure is the median of n runs with the least and the most in brackets; a ratio is the median of
the ratios run by run, and above 1 the other side took longer or did less. `~`: the side was measured at another hour
than the one it is held against, and their medians are compared. `>=`: in some of its runs the side stopped short of the
target, so the whole way would have taken longer. No ratio: the side it would be held against stopped short itself. A
row in which somebody else wins stays here. Where a part was run on several machines, each has its table: ratios are
taken within one only. CPU-seconds and peak memory are those of a run's whole process, with its imports, its looks at
validation and its score on the test split.
"""


class Block(NamedTuple):
    """What was measured in one go, side after side: the machine as it was, and a row a run."""

    machine: Row
    rows: list[Row]


def blocks(file: Path) -> list[Block]:
    """Read a part's lines: each about a machine begins a block."""
    found: list[Block] = []
    for line in file.read_text("utf-8").splitlines() if file.exists() else []:
        row = json.loads(line)
        if row.get("part") == "machine":
            found.append(Block(row, []))
        else:
            found[-1].rows.append(row)
    return found


def same_machine(one: Row, other: Row) -> bool:
    """Tell whether two lines are about machines of the same kind."""
    return all(one[key] == other[key] for key in ("processor", "cores", "device", "torch"))


def by_machine(measured: list[Block]) -> list[list[Block]]:
    """Gather what was measured on the same machine, the first one first."""
    found: list[list[Block]] = []
    for block in measured:
        same = next((blocks for blocks in found if same_machine(blocks[0].machine, block.machine)), None)
        if same is None:
            found.append([block])
        else:
            same.append(block)
    return found


def page(results: Path) -> str:
    """Give the whole page."""
    return "\n".join([HEAD, *(section(name, part, blocks(results / f"{name}.jsonl")) for name, part in PARTS.items())])


def section(name: str, part: Part, measured: list[Block]) -> str:
    """Give one part: its title, goal and words, and what each machine gave."""
    lines = [f"## {part.title} (`{name}`)", "", f"Goal: {part.goal}.", "", part.words, ""]
    for here in by_machine(measured):
        lines += on_machine(part, here)
    return "\n".join(lines if measured else [*lines, "Not run yet.", ""])


def on_machine(part: Part, here: list[Block]) -> list[str]:
    """Give what a machine was, and a table with a row a side."""
    taken = [row | {"turn": (hour, row.get("seed"))} for hour, block in enumerate(here) for row in block.rows]
    sides: dict[str, Runs] = defaultdict(list)
    for row in {(row["side"], row.get("seed")): row for row in taken}.values():  # the last of each
        sides[row["side"]].append(row)
    sides = dict(in_order(part, sides))
    extras = [key for key in COLUMNS if any(cell(key, runs, part) for runs in sides.values())]
    held = [f"ratio to {part.against}"] if part.against else []
    heading = ["side", "n", f"{part.unit}", *held, *(COLUMNS[key] for key in extras)]
    table = [heading, ["---"] * len(heading)]
    for side, runs in sides.items():
        turns = len(runs) if len(runs) > 1 else len(runs[0].get("runs", runs))
        against = (part.against or "") + "".join(side.partition(" at ")[1:])
        held_against = [row for row in taken if row["side"] == against]
        ratios = [ratio(part, runs, held_against)] if part.against else []
        table.append([side, str(turns), spread(runs, part.figure), *ratios, *(cell(key, runs, part) for key in extras)])
    rows = [f"| {' | '.join(cells)} |" for cells in table]
    seen = {side_of(side) for side in sides}
    absent = [] if part.once else [side.name for side in part.sides if side.name not in seen]
    told = [f"Not run here: {'; '.join(absent)}.", ""] if absent else []
    return [machine_line(here), "", *rows, "", *told, *limits(part, here, sides), *recipes(sides)]


def side_of(row: str) -> str:
    """Name the side that a row is of: `eager at batch 32` is of `eager`."""
    return row.partition(" at ")[0]


def in_order(part: Part, sides: dict[str, Runs]) -> list[tuple[str, Runs]]:
    """Give the sides in the part's order, whatever hour they were measured at."""
    places = {side.name: place for place, side in enumerate(part.sides)}
    return sorted(sides.items(), key=lambda item: places.get(side_of(item[0]), len(places)))


COLUMNS = {
    "epochs": "epochs",
    "epoch_seconds": "s an epoch",
    "valid": "validation accuracy",
    "valid_reached": "validation at the target",
    "test": "test accuracy",
    "test_reached": "test at the target",
    "agreement": "agreement",
    "images_per_second": "pictures a second",
    "ratio_to_best": "ratio to best",
    "loader_seconds": "loader, s",
    "over_memory": "epoch, to that in memory",
    "packed_mb": "packed, MB",
    "allowed_mb": "allowed, MB",
    "exit_code": "exit code",
    "first_third_mb": "most in the first third, MB",
    "rest_mb": "most after that, MB",
    "cpu_seconds": "CPU-s",
    "peak_mb": "peak, MB",
}
REACHED = {"valid_reached": "valid", "test_reached": "test"}
FIGURES = {part.figure for part in PARTS.values()}
PROPORTIONS = {"valid", "test"}
IMAGE_BYTES = 28 * 28  # of the mlp's sets
WHOLE_PROCESS = {"cpu_seconds", "peak_mb"}  # of a process that may have measured several sides


def values_of(rows: Runs, key: str) -> list[float]:
    """Give all values of a number; a script that took its turns by itself keeps them in `runs`."""
    if len(rows) == 1 and "runs" in rows[0] and key in FIGURES:
        return list(rows[0]["runs"])
    return [row[key] for row in rows if isinstance(row.get(key), int | float)]


def spread(rows: Runs, key: str) -> str:
    """Give median and range of a number."""
    values, write = values_of(rows, key), proportion if key in PROPORTIONS else number
    if not values:
        return ""
    return write(statistics.median(values)) + (f" [{write(min(values))}, {write(max(values))}]" if values[1:] else "")


def number(value: float) -> str:
    """Write a number with three figures that count."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 999.5 else f"{value:.3g}"


def proportion(value: float) -> str:
    """Write a share of pictures, which three figures would round to the target."""
    return f"{value:.4f}"


def ratio(part: Part, runs: Runs, against: Runs) -> str:
    """Give how many times more than the reference a side takes, run by run where they were run in turn."""
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
    """Give the median of a number, where there is any."""
    values = values_of(rows, key)
    return statistics.median(values) if values else None


def reached_by_all(part: Part, runs: Runs) -> bool:
    """Tell whether all runs came to the part's target on validation, where it has one."""
    return part.target is None or all(row.get("valid", 1.0) >= part.target for row in runs)


def cell(key: str, runs: Runs, part: Part) -> str:
    """Give one further column of a side."""
    if key in REACHED:
        values = values_of(runs, REACHED[key])
        return f"{sum(value >= part.target for value in values)} of {len(values)}" if part.target and values else ""
    if key in WHOLE_PROCESS and runs[0]["side"] not in {side.name for side in part.sides}:
        return ""
    return spread(runs, key)


def limits(part: Part, here: list[Block], sides: dict[str, Runs]) -> list[str]:
    """Hold an epoch of the mlp against what the machine's matrix products and memory would allow."""
    ours = [row for row in sides.get("firstlight", []) if "epoch_pictures" in row]
    if not ours or not part.title.startswith("mlp"):
        return []
    machines = [block.machine for block in here]
    flops, images = machines[0]["mlp_flops_a_picture"], ours[0]["epoch_pictures"]
    dtype = ours[0].get("dtype") or max(machines[0]["gflops"], key=machines[0]["gflops"].get)
    rate = max(machine["gflops"][dtype] for machine in machines)  # of its best hour: a limit that no run can beat
    least = flops * images / rate / 1e9
    read = IMAGE_BYTES * images / max(machine["copy_gb_a_second"] for machine in machines) / 1e9
    taken = statistics.median(values_of(ours, "epoch_seconds"))
    return [
        f"The limit of an epoch: {flops / 1e6:.2f} MFLOP a picture at the {rate} GFLOP/s that these matrix products "
        f"reach alone in {dtype}, in the machine's best moment, are {least:.2f} s (and reading its pictures once at "
        f"the rate of a copy {read:.3f} s); firstlight's epoch, its look at validation included, runs at "
        f"{least / taken:.0%} of that.",
        "",
    ]


def machine_line(here: list[Block]) -> str:
    """Tell the machine of a part, as it was at the hours when it was measured."""
    machine = here[0].machine
    rates = ", ".join(
        f"{name} {between([block.machine['gflops'][name] for block in here])} GFLOP/s" for name in machine["gflops"]
    )
    copied = between([block.machine["copy_gb_a_second"] for block in here])
    hours = f" in {len(here)} goes" if len(here) > 1 else ""
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['device']}; "
        f"measured{hours} {rates}, copy {copied} GB/s; Python {machine['python']}, torch {machine['torch']}."
    )


def between(values: list[float]) -> str:
    """Write a number that was seen to vary."""
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def recipes(sides: dict[str, Runs]) -> list[str]:
    """Tell what each side does differently, and its versions; each, where its runs were not all alike."""
    told = []
    for side, runs in sides.items():
        for recipe, versions in dict.fromkeys((row.get("recipe", ""), in_words(row)) for row in runs):
            if recipe:
                told.append(f"- {side}: {recipe}{f' ({versions})' if versions else ''}")
            elif versions:
                told.append(f"- {side}: {versions}")
    return [*told, ""] if told else []


def in_words(row: Row) -> str:
    """Give the versions of a row in words."""
    return ", ".join(f"{name} {value}" for name, value in row.get("versions", {}).items())
