"""The page of results, written from the JSON lines and from nothing else."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from parts import PARTS, Part

Row = dict[str, Any]
HEAD = """# Results

Written by `make bench` from `benchmarks/results/*.jsonl`; not to be edited. Every part ran its sides in turn (A B A B),
each run a process of its own. A figure is the median of n runs with the least and the most in brackets; a ratio is the
median of the ratios run by run, and above 1 the other side took longer or did less. A row in which somebody else wins
stays here. Where a part was run on several machines, each has its table: ratios are taken within one only.
"""


class Block(NamedTuple):
    """What was measured on one machine."""

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
    return all(one[key] == other[key] for key in ("processor", "cores", "device"))


def page(results: Path) -> str:
    """Give the whole page."""
    sections = [HEAD]
    for name, part in PARTS.items():
        if measured := [block for block in blocks(results / f"{name}.jsonl") if block.rows]:
            sections.append(section(name, part, measured))
    return "\n".join(sections)


def section(name: str, part: Part, measured: list[Block]) -> str:
    """Give one part: its title, goal and words, and what each machine gave."""
    lines = [f"## {part.title} (`{name}`)", "", f"Goal: {part.goal}.", "", part.words, ""]
    for block in measured:
        lines += on_machine(part, block)
    return "\n".join(lines)


def on_machine(part: Part, block: Block) -> list[str]:
    """Give what a machine was, and a table with a row a side."""
    sides: dict[str, list[Row]] = defaultdict(list)
    for row in block.rows:
        sides[row["side"]].append(row)
    extras = [key for key in COLUMNS if any(key in row for row in block.rows)]
    heading = ["side", "n", f"{part.unit}", f"ratio to {part.against}", *(COLUMNS.get(key, key) for key in extras)]
    table = [heading, ["---"] * len(heading)]
    for side, runs in sides.items():
        turns = len(runs) if len(runs) > 1 else len(runs[0].get("runs", runs))
        against = sides.get(part.against + "".join(side.partition(" at ")[1:]), [])
        cells = [side, str(turns), spread(runs, part.figure), ratio(part, runs, against)]
        table.append(cells + [cell(key, runs, part) for key in extras])
    rows = [f"| {' | '.join(cells)} |" for cells in table]
    return [machine_line(block.machine), "", *rows, "", *limits(part, block.machine, sides), *recipes(sides)]


COLUMNS = {
    "epochs": "epochs",
    "epoch_seconds": "s an epoch",
    "valid": "validation accuracy",
    "test": "test accuracy",
    "reached": "test at the target",
    "agreement": "agreement",
    "images_per_second": "pictures a second",
    "ratio_to_best": "ratio to best",
    "loader_seconds": "loader, s",
    "packed_mb": "packed, MB",
    "allowed_mb": "allowed, MB",
    "exit_code": "exit code",
    "first_third_mb": "most in the first third, MB",
    "rest_mb": "most after that, MB",
    "cpu_seconds": "CPU-s",
    "peak_mb": "peak, MB",
}
FIGURES = {part.figure for part in PARTS.values()}
WHOLE_PROCESS = {"cpu_seconds", "peak_mb"}  # of a script that may have measured several sides in one process


def spread(rows: list[Row], key: str) -> str:
    """Give median and range of a number."""
    values = [row[key] for row in rows if isinstance(row.get(key), int | float)]
    if len(values) == 1 and "runs" in rows[0] and key in FIGURES:
        values = rows[0]["runs"]  # of a script that took its turns by itself
    if not values:
        return ""
    middle = statistics.median(values)
    return number(middle) + (f" [{number(min(values))}, {number(max(values))}]" if len(values) > 1 else "")


def number(value: float) -> str:
    """Write a number with three figures that count."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 or value == 0 else f"{value:.4f}"


def ratio(part: Part, runs: list[Row], against: list[Row]) -> str:
    """Give how many times more than the reference a side takes, run by run."""
    reference = {row["seed"]: row.get(part.figure) for row in against}
    values = [
        row[part.figure] / reference[row["seed"]] if part.less_is_better else reference[row["seed"]] / row[part.figure]
        for row in runs
        if row.get(part.figure) and reference.get(row["seed"])
    ]
    return f"{statistics.median(values):.2f}" if values else ""


def cell(key: str, runs: list[Row], part: Part) -> str:
    """Give one further column of a side."""
    if key == "reached":
        good = sum(row["test"] >= (part.target or 0) for row in runs)
        return f"{good} of {len(runs)}"
    if key in WHOLE_PROCESS and len(part.sides) == 1:
        return ""
    if key in ("test", "valid") and any(key in row for row in runs):
        values = [row[key] for row in runs]
        return f"{statistics.mean(values):.4f} [{min(values):.4f}, {max(values):.4f}]"
    return spread(runs, key)


def limits(part: Part, machine: Row, sides: dict[str, list[Row]]) -> list[str]:
    """Hold an epoch of the mlp against what the machine's matrix products would allow."""
    ours = sides.get("firstlight", [])
    if not ours or "epoch_pictures" not in ours[0] or not part.title.startswith("mlp"):
        return []
    rate = max(machine["gflops"].values())
    least = machine["mlp_flops_a_picture"] * ours[0]["epoch_pictures"] / rate / 1e9
    taken = statistics.median(row["epoch_seconds"] for row in ours)
    return [
        f"The limit of an epoch: {machine['mlp_flops_a_picture'] / 1e6:.2f} MFLOP a picture at the {rate} GFLOP/s that "
        f"these matrix products reach alone are {least:.2f} s; firstlight's epoch takes {taken:.2f} s, "
        f"{least / taken:.0%} of the limit, its look at validation included.",
        "",
    ]


def machine_line(machine: Row) -> str:
    """Tell the machine of a part."""
    rates = ", ".join(f"{name} {rate} GFLOP/s" for name, rate in machine["gflops"].items())
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['device']}; "
        f"measured {rates}, copy {machine['copy_gb_a_second']} GB/s; Python {machine['python']}, torch "
        f"{machine['torch']}."
    )


def recipes(sides: dict[str, list[Row]]) -> list[str]:
    """Tell what each side does differently, and its versions."""
    told = {}
    for side, runs in sides.items():
        if "recipe" in runs[0]:
            versions = ", ".join(f"{name} {value}" for name, value in runs[0]["versions"].items())
            told[side] = f"- {side}: {runs[0]['recipe']} ({versions})"
    return [*told.values(), ""] if told else []
