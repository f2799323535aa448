"""Measure the promises about trust on real sets, each beside its goal and, where there is one, a peer in the same run.

    python benchmarks/trust.py                              # every part
    python benchmarks/trust.py --part strangers --seeds 5   # one part

Each goal is one line: what was measured, its value and interval, the peer's value, and whether the goal was met. The
lines of a part go to `benchmarks/results/trust-<part>.jsonl`, in place of earlier ones; then `benchmarks/RESULTS.md` is
written again. Peers come from `.venv-peers` (`make peers`); where one is not installed, its cell stays empty.
"""

import argparse
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import report
from trust_parts.goal import PARTS, row

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Measure the requested parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=int, default=5, help="runs of everything that is random")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"), help="folder with the real sets")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".venv-peers", help="environment of the peers")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder for the JSON lines")
    choices = parser.parse_args()
    sys.path.extend(map(str, choices.peers.glob("lib/python*/site-packages")))  # last, so that ours are found first
    choices.results.mkdir(parents=True, exist_ok=True)
    seeds = range(choices.first_seed, choices.first_seed + choices.seeds)
    for part in choices.part:
        goals = []
        for goal in import_module(f"trust_parts.{part}").measure(seeds, choices.data_root):
            print(row(goal), flush=True)
            goals.append(goal)
        lines = [json.dumps(asdict(goal)) for goal in goals]
        (choices.results / f"trust-{part}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    if choices.results == HERE / "results":
        (HERE / "RESULTS.md").write_text(report.page(choices.results), "utf-8")


if __name__ == "__main__":
    main()
