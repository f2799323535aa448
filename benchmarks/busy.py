"""Does training beside other work lose more than its share?

    python benchmarks/busy.py

Trains an epoch of the mlp on a quiet machine, beside one busy process a core, and beside another training, each with
every thread count in turn, with threads that sleep where `runtime.set_up_process` sees other work, and as PyTorch does.
Prints one JSON line a case: seconds, and their ratio to the best thread count beside the same work.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

ROUNDS = 3
BURN = "while True: sum(range(1000))"
TRAIN = """
import sys
from firstlight.runtime.processors import set_up_process
if sys.argv[1] == "ours":
    set_up_process()
import time, torch
torch.set_num_threads(int(sys.argv[2]))
from firstlight.data.loader import Loader
from firstlight.models.classifier import Classifier
from firstlight.training.loop import train
from firstlight.training.recipe import Recipe
import numpy as np
count, endless = int(sys.argv[3]), len(sys.argv) > 4
dice = np.random.default_rng(0)
images, labels = dice.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8), dice.integers(0, 10, count)
rows, cpu = np.arange(count), torch.device("cpu")
recipe = Recipe(model="mlp", epochs=100_000 if endless else 2, batch_size=256).complete(color=False, images=count)
classifier = Classifier(architecture=recipe.architecture, classes=tuple("abcdefghij"), input_size=(1, 28, 28))
batches = Loader(images, labels, rows, batch_size=256, device=cpu, seed=0, drop_last=True)
look = Loader(images, labels, rows[:64], batch_size=64, device=cpu)
ends = [row.seconds for row, _ in train(classifier, batches, look, recipe)]
print(ends[1] - ends[0])
"""


def main() -> None:
    """Measure and print, all cases in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one round, few pictures")
    smoke = parser.parse_args().smoke
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    images = 2_000 if smoke else 30_000
    loads = {
        "quiet": [],
        **{f"beside {busy} busy": [[sys.executable, "-c", BURN]] * busy for busy in sorted({1, cores})},
        "beside another training": [[sys.executable, "-c", TRAIN, "ours", str(cores), str(images), "endless"]],
    }
    cases = [("ours", threads) for threads in sorted({1, cores})] + [("PyTorch's habit", cores)]
    cases = cases[:1] if smoke else cases
    seconds: dict[str, dict[tuple[str, int], list[float]]] = {load: {case: [] for case in cases} for load in loads}
    for _ in range(1 if smoke else ROUNDS):
        for load, others in loads.items():
            with running(others):
                for case in cases:
                    seconds[load][case].append(epoch_seconds(*case, images))
    for load, beside in seconds.items():
        best = min(median(beside[case]) for case in cases if case[0] == "ours")
        for (habit, threads), values in beside.items():
            name = f"{load}, {threads} thread{'s' * (threads > 1)}" + (f" ({habit})" if habit != "ours" else "")
            row = {"side": name, "seconds": median(values), "ratio_to_best": median(values) / best}
            print(json.dumps(row | {"runs": [round(value, 3) for value in values]}), flush=True)


def epoch_seconds(habit: str, threads: int, images: int) -> float:
    """Give the seconds of the second epoch of a training in a process of its own."""
    command = [sys.executable, "-c", TRAIN, habit, str(threads), str(images)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


@contextmanager
def running(commands: list[list[str]]) -> Iterator[None]:
    """Keep other work going beside this, once it has begun."""
    others = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
    time.sleep(6 if any(len(command) > 3 for command in commands) else 0.2)  # a training has to import first
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
