"""What does it cost that a killed run can be resumed? Trains with checkpoints and without them, in turn.

    python benchmarks/checkpoints.py

Prints one JSON line for each network, trained on images of noise with the state written after epochs, as by default.
The `fraction` is the CPU-seconds of copying and writing states over those of training; `slower` is the median
difference of pairs of runs with and without, which other programs on the machine disturb.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from firstlight.data.sources import load_data
from firstlight.progress import silence
from firstlight.training.checkpoints import Checkpoints
from firstlight.training.learn import learn_by_gradient
from firstlight.training.ready import make_ready
from firstlight.training.recipe import Recipe
from firstlight.training.state import TrainState

ROUNDS = 5
COMMON = {"optimizer": "adamw", "patience": None}
NETWORKS: dict[str, tuple[int, int, dict[str, Any]]] = {  # the side of the images, their number, and the recipe
    "mlp, a small state": (28, 6000, {"model": "mlp", "hidden": (256,), "epochs": 40, "batch_size": 128}),
    "mobilenet_v2": (64, 480, {"model": "timm:mobilenetv2_100", "pretrained": False, "epochs": 5, "batch_size": 32}),
    "mlp, a large state": (28, 6000, {"model": "mlp", "hidden": (2304, 2304), "epochs": 8, "batch_size": 128}),
}


def main() -> None:
    """Measure every network and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one round of one epoch")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    choices = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, silence():
        for name, (side, count, recipe) in NETWORKS.items():
            smoke = {"epochs": 1} if choices.smoke else {}
            row = measure(Path(place), side, count, COMMON | recipe | smoke, 1 if choices.smoke else choices.rounds)
            print(json.dumps({"side": name} | row), flush=True)


def measure(place: Path, side: int, count: int, recipe: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Train in turn with checkpoints and without, and return what both took."""
    random = np.random.default_rng(0)
    shape = (count, side, side) if recipe["model"] == "mlp" else (count, side, side, 3)
    samples = load_data((random.integers(0, 256, shape, np.uint8), np.arange(count) % 10))
    turns: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    for number in range(rounds + 1):
        for which in sorted(turns, reverse=bool(number % 2)):
            row = train(place / "run", samples, Recipe.of(**recipe), which)
            if number or rounds == 1:  # the first round warms up
                turns[which].append(row)
    pairs = list(zip(turns["with"], turns["without"], strict=True))
    fractions = [row["cpu_of_states"] / row["cpu"] for row in turns["with"]]
    slower = [with_["cpu"] / without["cpu"] - 1 for with_, without in pairs]
    return {
        "fraction": median(fractions), "runs": [round(fraction, 4) for fraction in fractions],
        "slower": round(median(slower), 4), "slower_runs": [round(value, 4) for value in slower],
        "cpu": median(row["cpu"] for row in turns["with"]), "seconds": median(row["seconds"] for row in turns["with"]),
        "states": median(row["states"] for row in turns["with"]), "state_mb": turns["with"][-1]["state_mb"],
    }  # fmt: skip


def train(folder: Path, samples: Any, recipe: Recipe, which: str) -> dict[str, float]:
    """Train once and return the seconds, the CPU-seconds, and how many states of how many megabytes were written."""
    made = make_ready(samples, recipe)
    folder.mkdir()
    checkpoints = CountedCheckpoints(folder, "training") if which == "with" else None
    started, cpu = time.perf_counter(), time.process_time()
    learn_by_gradient(folder, made.classifier, made.data, made.recipe, checkpoints=checkpoints)
    row = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    states = list(folder.glob("last/*.safetensors"))
    row |= {"states": checkpoints.count, "cpu_of_states": checkpoints.cpu} if checkpoints else {}
    row |= {"state_mb": round(sum(state.stat().st_size for state in states) / 1e6, 1)}
    shutil.rmtree(folder)
    return row


class CountedCheckpoints(Checkpoints):
    """Checkpoints that count the states that they have written, and the CPU-seconds that took."""

    count, cpu = 0, 0.0

    def _copy(self, state: TrainState) -> dict[str, Any]:
        started = time.thread_time()
        copy = super()._copy(state)
        self.cpu += time.thread_time() - started
        return copy

    def _write(self, copy: dict[str, Any], seconds_before: float) -> float:
        started = time.thread_time()
        seconds = super()._write(copy, seconds_before)
        self.count += 1
        self.cpu += time.thread_time() - started
        return seconds


if __name__ == "__main__":
    main()
