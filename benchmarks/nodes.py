"""What do two machines train, compared with one? Two simulated machines, joined by cables of different rates.

    python benchmarks/nodes.py --data-root ../shared/data     # needs root rights, and iproute2

Each machine is a network namespace with one process of one thread; `ranks.py` trains in both. They share this
computer's processors, memory, and disk, so what is measured is the cost of the network and of waiting for each other,
in turn with one process of one thread alone. Prints a JSON line for each network and cable: `efficiency` is images per
second divided by twice those of the process alone, run by run.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from simulated_nodes import Node, possible, rate_between, two_nodes

RANKS = str(Path(__file__).resolve().parent / "ranks.py")
CABLES = {"no limit": None, "10 Gbit/s": 10_000, "1 Gbit/s": 1_000, "100 Mbit/s": 100}
NETWORKS = ("cnn", "mlp")
PORT = 29_400


def main() -> None:
    """Measure every network and cable in turn, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--nets", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--set", default="mnist")
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--epochs", type=int, default=3, help="of which the first one is not counted")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="only lay the cables, and measure their rates")
    choices = parser.parse_args()
    if not possible():
        print(json.dumps({"side": "not measured: needs Linux, root rights, ip, and tc"}))
        return
    if choices.smoke:
        with two_nodes(CABLES["100 Mbit/s"]) as nodes:
            print(json.dumps({"side": "100 Mbit/s", "megabits": round(rate_between(nodes, 2), 1)}))
        return
    for net in choices.nets:
        words = ["--net", net, "--set", choices.set, "--data-root", choices.data_root]
        words += ["--images", str(choices.images), "--epochs", str(choices.epochs), "--threads", "1"]
        measure(net, words, choices.repeats)


def measure(net: str, words: list[str], repeats: int) -> None:
    """Print the rows of one network."""
    alone: list[dict] = []
    together: dict[str, list[dict]] = {cable: [] for cable in CABLES}
    megabits: dict[str, list[float]] = {cable: [] for cable in CABLES}
    for _ in range(repeats):
        alone.append(answer([start([sys.executable, RANKS, *words])]))
        for cable, limit in CABLES.items():
            with two_nodes(limit) as nodes:
                megabits[cable].append(rate_between(nodes, 16 if limit == 100 else 128))
                together[cable].append(answer([start(torchrun(nodes, place, words), nodes[place]) for place in (0, 1)]))
    single = [row["images_per_second"] for row in alone]
    print(
        json.dumps({"side": f"{net}, one process", "trained_per_second": median(single), "rates": single}), flush=True
    )
    for cable, rows in together.items():
        rates = [row["images_per_second"] for row in rows]
        efficiencies = [rate / (2 * one) for rate, one in zip(rates, single, strict=True)]
        row = {
            "side": f"{net}, two machines, {cable}",
            "efficiency": median(efficiencies),
            "runs": efficiencies,
            "trained_per_second": median(rates),
            "megabits": median(megabits[cable]),
            "batch_size": rows[0]["batch_size"],
        }
        print(json.dumps(row), flush=True)


def torchrun(nodes: tuple[Node, Node], place: int, words: list[str]) -> list[str]:
    """Return the command that trains on one of the two machines."""
    first, own = nodes[0], nodes[place]
    options = (f"--nnodes=2 --nproc-per-node=1 --node-rank={place} --local-addr={own.address}").split()
    options += [f"--master-addr={first.address}", f"--master-port={PORT}"]
    return own.command(sys.executable, "-m", "torch.distributed.run", *options, RANKS, *words)


def start(command: list[str], node: Node | None = None) -> subprocess.Popen[str]:
    """Start a process, on a simulated machine or on this one."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | (node.environment() if node else {})
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def answer(processes: list[subprocess.Popen[str]]) -> dict:
    """Wait for processes that train together; return the row that the first of them printed."""
    try:
        said = [process.communicate(timeout=1200) for process in processes]
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    for process, (_, complaints) in zip(processes, said, strict=True):
        if process.returncode:
            raise SystemExit(f"{' '.join(process.args)} failed:\n{complaints[-3000:]}")
    row: dict = json.loads(next(line for line in said[0][0].splitlines() if line.startswith("{")))
    return row


if __name__ == "__main__":
    main()
