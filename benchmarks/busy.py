"""How much slower is training while other programs are running?

    python benchmarks/busy.py

Trains one epoch of the mlp on a quiet machine, next to busy processes, and next to another training run, each time
with every thread count in turn: once with firstlight's settings (`set_up_process` lets waiting threads sleep if other
programs are running), and once with PyTorch's own. Prints one JSON line per case: seconds, and their ratio to the
best thread count under the same load.
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
from firstlight.training.defaults import complete
from firstlight.training.loop import train_epochs
from firstlight.training.recipe import Recipe
from firstlight.training.state import Epoch, TrainState
import numpy as np
count, endless = int(sys.argv[3]), len(sys.argv) > 4
rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8), rng.integers(0, 10, count)
rows, cpu = np.arange(count), torch.device("cpu")
recipe = Recipe.of(model="mlp", epochs=100_000 if endless else 2, batch_size=256)
recipe = complete(recipe, color=False, images=count)
classifier = Classifier(architecture={"name": "mlp"}, classes=tuple("abcdefghij"), input_size=(1, 28, 28))
train_loader = Loader(images, labels, rows, batch_size=256, device=cpu, seed=0, drop_last=True)
valid_loader = Loader(images, labels, rows[:64], batch_size=64, device=cpu)
state = TrainState.begin(classifier, recipe)
ends = [row.seconds for row in train_epochs(state, train_loader, valid_loader, recipe) if isinstance(row, Epoch)]
print(ends[1] - ends[0])
"""


def main() -> None:
    """Measure all cases in turn and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one round, few pictures, one load")
    smoke = parser.parse_args().smoke
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    images = 2_000 if smoke else 30_000
    loads = {
        "quiet": [],
        **{
            f"with {busy} busy process{'es' * (busy > 1)}": [[sys.executable, "-c", BURN]] * busy
            for busy in sorted({1, cores})
        },
        "with another training run": [[sys.executable, "-c", TRAIN, "ours", str(cores), str(images), "endless"]],
    }
    if smoke:
        loads = {name: others for name, others in loads.items() if name == "with 1 busy process"}
    cases = [("ours", threads) for threads in sorted({1, cores})] + [("PyTorch's settings", cores)]
    cases = cases[:1] if smoke else cases
    seconds: dict[str, dict[tuple[str, int], list[float]]] = {load: {case: [] for case in cases} for load in loads}
    for _ in range(1 if smoke else ROUNDS):
        for load, others in loads.items():
            with running(others):
                for case in cases:
                    seconds[load][case].append(epoch_seconds(*case, images))
    for load, cases_seconds in seconds.items():
        best = min(median(cases_seconds[case]) for case in cases if case[0] == "ours")
        for (settings, threads), values in cases_seconds.items():
            name = f"{load}, {threads} thread{'s' * (threads > 1)}" + (f" ({settings})" if settings != "ours" else "")
            row = {"side": name, "seconds": median(values), "ratio_to_best": median(values) / best}
            print(json.dumps(row | {"runs": [round(value, 3) for value in values]}), flush=True)


def epoch_seconds(settings: str, threads: int, images: int) -> float:
    """Return the seconds of the second epoch of a training run in a separate process."""
    command = [sys.executable, "-c", TRAIN, settings, str(threads), str(images)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


@contextmanager
def running(commands: list[list[str]]) -> Iterator[None]:
    """Run other programs in the meantime, and wait until they have started."""
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
