"""What share of training does the loader take, with the set in memory and memory-mapped?

    python benchmarks/loader.py --data-root ../shared/data

Prints one JSON line for each network and place: the seconds to draw every batch of an epoch, the seconds of an epoch
of training without a look at validation, their ratio, and that of the epoch to one with the set in memory.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import numpy as np

from firstlight.runtime.processors import set_up_process

ROUNDS = 5
PLACES = ("in memory", "memory-mapped")


def main() -> None:
    """Measure and print, both places in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--smoke", action="store_true", help="few pictures, one round")
    choices = parser.parse_args()
    set_up_process()
    import torch

    from firstlight.data import loader as room
    from firstlight.data.sources import load_data
    from firstlight.models.classifier import Classifier
    from firstlight.training.loop import train
    from firstlight.training.recipe import Recipe

    samples = load_data("digits" if choices.smoke else "mnist", data_root=choices.data_root)
    images, cpu = samples.images.images, torch.device("cpu")
    resident_bytes = room.HOST_RESIDENT_BYTES

    def batches_of(pixels: np.ndarray, rows: np.ndarray, place: str, **more: object) -> room.Loader:
        room.HOST_RESIDENT_BYTES = resident_bytes if place == "in memory" else 0
        batches = room.Loader(pixels, samples.labels, rows, device=cpu, **more)
        assert (batches.resident is None) == (place == "memory-mapped")
        return batches

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "pixels.npy"), images)
        pixels = {"in memory": images, "memory-mapped": np.load(Path(folder, "pixels.npy"), mmap_mode="r")}
        for net, part in (("mlp", 1), ("cnn", 10)):
            recipe = Recipe(model=net, epochs=1).complete(color=False, images=len(images))
            rows = np.arange(max(64, len(images) // part))
            classifier = Classifier(
                architecture=recipe.architecture, classes=samples.classes, input_size=(1, *images.shape[1:3])
            )
            batch = {"batch_size": recipe.batch_size, "seed": 0, "drop_last": True}
            learned = {place: batches_of(pixels[place], rows, place, **batch) for place in PLACES}
            seen = {place: batches_of(pixels[place], rows[:64], place, batch_size=64) for place in PLACES}
            alone: dict[str, list[float]] = {place: [] for place in PLACES}
            whole: dict[str, list[float]] = {place: [] for place in PLACES}
            for _ in range(1 if choices.smoke else ROUNDS):
                for place in PLACES:
                    alone[place].append(seconds_through(learned[place].epoch(1)))
                    whole[place].append(seconds_through(train(classifier, learned[place], seen[place], recipe)))
            for place in PLACES:
                row = {
                    "side": f"{net}, {place}",
                    "share": median(alone[place]) / median(whole[place]),
                    "loader_seconds": median(alone[place]),
                    "epoch_seconds": median(whole[place]),
                    "over_memory": median(
                        its / other for its, other in zip(whole[place], whole["in memory"], strict=True)
                    ),
                    "runs": [its / other for its, other in zip(alone[place], whole[place], strict=True)],
                    "n": len(rows),
                }
                print(json.dumps(row), flush=True)


def seconds_through(steps: Iterable[object]) -> float:
    """Give the seconds that it takes to go through what is made step by step."""
    started = time.perf_counter()
    for _ in steps:
        pass
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
