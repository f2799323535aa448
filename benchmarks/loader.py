"""What fraction of training time does the loader take, with the set in memory and memory-mapped?

    python benchmarks/loader.py --data-root ../shared/data

Prints one JSON line per network and place: the seconds to load every batch of an epoch, the seconds of a training epoch
without validation, the ratio of the two, and the ratio of the epoch to one with the set in memory.
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
    """Measure both places in turn and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--smoke", action="store_true", help="a few pictures, one round")
    choices = parser.parse_args()
    set_up_process()
    import torch

    from firstlight.data import loader as loading
    from firstlight.data.sources import load_data
    from firstlight.models.classifier import Classifier
    from firstlight.training.defaults import complete
    from firstlight.training.loop import train_epochs
    from firstlight.training.recipe import Recipe
    from firstlight.training.state import TrainState

    samples = load_data("digits" if choices.smoke else "mnist", data_root=choices.data_root)
    images, cpu = samples.images.images, torch.device("cpu")
    resident_bytes = loading.HOST_RESIDENT_BYTES

    def loader_of(pixels: np.ndarray, rows: np.ndarray, place: str, **more: object) -> loading.Loader:
        loading.HOST_RESIDENT_BYTES = resident_bytes if place == "in memory" else 0
        loader = loading.Loader(pixels, samples.labels, rows, device=cpu, **more)
        assert (loader.resident is None) == (place == "memory-mapped")
        return loader

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "pixels.npy"), images)
        pixels = {"in memory": images, "memory-mapped": np.load(Path(folder, "pixels.npy"), mmap_mode="r")}
        for net, divisor in (("mlp", 1), ("cnn", 10)):
            recipe = complete(Recipe.of(model=net, epochs=1), color=False, images=len(images))
            rows = np.arange(max(64, len(images) // divisor))
            classifier = Classifier(
                architecture={"name": net}, classes=samples.classes, input_size=(1, *images.shape[1:3])
            )
            batch = {"batch_size": recipe.optimization.batch_size, "seed": 0, "drop_last": True}
            train_loaders = {place: loader_of(pixels[place], rows, place, **batch) for place in PLACES}
            valid_loaders = {place: loader_of(pixels[place], rows[:64], place, batch_size=64) for place in PLACES}
            alone: dict[str, list[float]] = {place: [] for place in PLACES}
            whole: dict[str, list[float]] = {place: [] for place in PLACES}
            for _ in range(1 if choices.smoke else ROUNDS):
                for place in PLACES:
                    alone[place].append(seconds_through(train_loaders[place].epoch(1)))
                    state = TrainState.begin(classifier, recipe)
                    events = train_epochs(state, train_loaders[place], valid_loaders[place], recipe)
                    whole[place].append(seconds_through(events))
            for place in PLACES:
                row = {
                    "side": f"{net}, {place}",
                    "fraction": median(alone[place]) / median(whole[place]),
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
    """Return the seconds that it takes to iterate over all of it."""
    started = time.perf_counter()
    for _ in steps:
        pass
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
