"""Compare the speed of firstlight with what you might use instead: all sides in turn, A B A B, on the same data.

    make bench                            # every part; takes hours
    make bench PARTS="mlp-mnist startup"  # some parts, by name
    make bench PARTS=scale                # all parts whose names begin with scale-
    python benchmarks/bench.py mlp-mnist --seeds 5 --sides firstlight tutorial

Each run is a separate process. Its JSON line, with the CPU-seconds and the peak memory that the system counted, goes
to `benchmarks/results/<part>.jsonl`, below a line about the machine at that time. Earlier rows stay there, except for
sides and seeds that are measured again on the same machine. After each part, `benchmarks/RESULTS.md` is regenerated
from all rows. The peers have their own virtual environment, `.venv-peers` (`make peers`).
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

import numpy as np

import report
from part import Part, Side
from parts import PARTS

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"


def main() -> None:
    """Run the requested parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; all by default")
    parser.add_argument("--seeds", type=int, default=5, help="runs per side")
    parser.add_argument(
        "--first-seed", type=int, default=0, help="seed of the first run, to continue after earlier runs"
    )
    parser.add_argument("--sides", nargs="+", help="only these sides")
    parser.add_argument("--data-root", default="../shared/data", help="folder with the data sets")
    parser.add_argument("--results", type=Path, help="folder for the JSON lines; benchmarks/results by default")
    parser.add_argument(
        "--smoke", action="store_true", help="only check that it runs: tiny data, one run, no peers, nothing kept"
    )
    choices = parser.parse_args()
    choices.parts = [part for name in choices.parts for part in named(name)]
    if unknown := set(choices.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    if choices.results is None:
        choices.results = (Path(tempfile.mkdtemp()) if choices.smoke else HERE) / "results"
    choices.results.mkdir(parents=True, exist_ok=True)
    if choices.smoke:
        import_what_sides_need()
    for name in choices.parts or PARTS:
        run_part(name, PARTS[name], choices)
        page = choices.results.parent / "RESULTS.md"
        page.write_text(report.page(choices.results), "utf-8")
    print(f"the page: {page}")


def named(name: str) -> list[str]:
    """Return the part of this name; if there is none, all that begin with it."""
    return [name] if name in PARTS else [part for part in PARTS if part.startswith(f"{name}-")] or [name]


def run_part(name: str, part: Part, choices: argparse.Namespace) -> None:
    """Run every side of a part in turn, seed by seed, and keep the rows that they print."""
    sides = [side for side in part.sides if wanted(side, choices)]
    file = choices.results / f"{name}.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        places: dict[str, Any] = {"data_root": choices.data_root, "folder": folder, "seed": 0}
        if part.data_set:
            # note: in a separate process, because Linux counts the peak memory of this one for every process it starts
            with get_context("fork" if choices.smoke else "spawn").Pool(1) as maker:
                places["arrays"] = maker.apply(make_arrays, (part.data_set, choices, folder))
        before, now = report.blocks(file), report.Block({}, [])
        runs = 1 if choices.smoke or part.once else choices.seeds
        for seed in range(choices.first_seed, choices.first_seed + runs):
            [machine] = measured(Side("machine", ("machine.py",)), places, choices.smoke)
            now = report.Block(at_its_best(now.machine, machine), now.rows)
            for side in sides:
                for row in measured(side, places | {"seed": seed}, choices.smoke):
                    called = ", ".join(str(row[key]) for key in part.named_by if key in row) or side.name
                    now.rows.append({"side": called} | row | {"part": name, "seed": seed})
                    print(short(now.rows[-1]), flush=True)
                kept = without(before, now, part.against)
                rows = [row for block in [*kept, now] for row in (block.machine, *block.rows)]
                file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def at_its_best(machine: report.Row, again: report.Row) -> report.Row:
    """Return the best rates measured on a machine so far: they vary with what else is running there."""
    rates = machine.get("gflops", {})
    copied = max(machine.get("copy_gb_per_second", 0), again["copy_gb_per_second"])
    best = {name: max(rate, rates.get(name, 0)) for name, rate in again["gflops"].items()}
    return again | {"gflops": best, "copy_gb_per_second": copied}


def without(before: list[report.Block], now: report.Block, against: str | None) -> list[report.Block]:
    """Return the earlier measurements without the sides and seeds that were measured again on the same machine.

    The side `against` stays where other sides that were run in turn with it stay: they are compared with it.
    """
    remeasured = {(row["side"], row["seed"]) for row in now.rows}
    kept = []
    for block in before:
        rows = block.rows
        if report.same_machine(block.machine, now.machine):
            seeds = {row["seed"] for row in rows if (row["side"], row["seed"]) not in remeasured}
            held = [row for row in rows if row["seed"] in seeds]
            rows = [row for row in held if row["side"] == against or (row["side"], row["seed"]) not in remeasured]
        kept += [report.Block(block.machine, rows)] if rows else []
    return kept


def wanted(side: Side, choices: argparse.Namespace) -> bool:
    """Return whether a side takes part: it is requested and installed."""
    if choices.sides and side.name not in choices.sides:
        return False
    if not side.peer or (PEERS.exists() and not choices.smoke):
        return True
    if not choices.smoke:
        print(f"{side.name}: skipped, because {PEERS} does not exist; `make peers` sets it up")
    return False


def measured(side: Side, places: dict[str, Any], smoke: bool) -> list[dict[str, Any]]:
    """Run one side as a process; return its JSON rows with the time and memory that the system counted."""
    words = [word.format(**places) for word in (*side.command, *(side.smoke if smoke else ()))]
    command = [str(PEERS) if side.peer else sys.executable, str(HERE / words[0]), *words[1:]]
    environment = os.environ | side.environment | {"PYTHONWARNINGS": "ignore"}
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as answers, tempfile.TemporaryFile("w+") as complaints:
        if smoke:
            pid = forked(command[1:], environment, answers, complaints)
        else:
            process = subprocess.Popen(command, stdout=answers, stderr=complaints, env=environment)
            pid = process.pid
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if not smoke:
            process.returncode = code
        answers.seek(0)
        complaints.seek(0)
        rows = [json.loads(line) for line in answers if line.startswith("{")]
        if code or not rows:
            raise SystemExit(f"{side.name}: {' '.join(command)} failed:\n{complaints.read()[-3000:]}")
    whole = {  # of the process, whatever it measured
        "process_seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }
    return [whole | row for row in rows]


def import_what_sides_need() -> None:
    """Import for all sides of a smoke run at once what each would import otherwise, which takes most of the time."""
    import torch  # noqa: F401
    import torchvision  # noqa: F401

    import firstlight.delivery.figures
    import firstlight.training.train  # noqa: F401


def forked(words: list[str], environment: dict[str, str], answers: IO[str], complaints: IO[str]) -> int:
    """Run a script in a copy of this process, with what is imported already, and return the number of the process."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code: Any = 1
    try:
        os.dup2(answers.fileno(), 1)
        os.dup2(complaints.fileno(), 2)
        os.environ.update(environment)
        warnings.simplefilter("ignore")
        sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:  # noqa: BLE001 - whatever it is, this copy ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def short(row: dict[str, Any]) -> str:
    """Return the numbers of a row in one line."""
    numbers = {key: value for key, value in row.items() if isinstance(value, int | float) and key != "seed"}
    listed = "  ".join(f"{key} {value:.4g}" for key, value in numbers.items())
    return f"{row['part']}  seed {row['seed']}  {row.get('side', '')}: {listed}"


def make_arrays(data_set: str, choices: argparse.Namespace, folder: str) -> str:
    """Write the splits of a set, as firstlight makes them with seed 0, to a file that every side reads."""
    from firstlight.data.dataset import open_dataset
    from firstlight.data.recipe import DataRecipe
    from firstlight.data.sources import load_data

    source = "digits" if choices.smoke else data_set.format(data_root=choices.data_root)
    samples = load_data(source, data_root=choices.data_root)
    data = open_dataset(samples, DataRecipe())
    arrays = {}
    for split in ("train", "valid", "test"):
        rows = data.split.rows(split)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = np.array(data.store.pixels[rows]), samples.labels[rows]
    path = f"{folder}/arrays.npz"
    np.savez(path, **arrays)
    return path


if __name__ == "__main__":
    main()
