"""What share of training does the loader take, with the set in memory and memory-mapped?

    python benchmarks/loader.py --data-root ../shared/data

Prints one JSON line for each network and place: the seconds to draw every batch of an epoch, the seconds of an epoch
of training without a look at validation, and their ratio.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from firstlight.runtime import own_process


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--smoke", action="store_true", help="few pictures")
    choices = parser.parse_args()
    own_process()
    import torch

    from firstlight.data import loader as room
    from firstlight.data.sources import load_data
    from firstlight.models.classifier import Classifier
    from firstlight.training.loop import train
    from firstlight.training.recipe import Recipe

    samples = load_data("digits" if choices.smoke else "mnist", data_root=choices.data_root)
    images = samples.pictures.images
    resident_bytes = room.HOST_RESIDENT_BYTES
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "pixels.npy"), images)
        mapped = np.load(Path(folder, "pixels.npy"), mmap_mode="r")
        for net in ("mlp", "cnn"):
            recipe = Recipe(model=net, epochs=1).complete(colour=False, pictures=len(images))
            for place, pixels in (("in memory", images), ("memory-mapped", mapped)):
                room.HOST_RESIDENT_BYTES = 0 if place == "memory-mapped" else resident_bytes
                rows = np.arange(len(images))
                few = rows[: max(64, len(rows) // (1 if net == "mlp" else 10))]
                cpu = torch.device("cpu")
                batches = room.Loader(
                    pixels, samples.labels, few, batch_size=recipe.batch_size, device=cpu, seed=0, drop_last=True
                )
                one = room.Loader(pixels, samples.labels, few[:64], batch_size=64, device=cpu)
                assert (batches.resident is None) == (place == "memory-mapped")
                classifier = Classifier(
                    architecture=recipe.architecture, classes=samples.classes, input_size=(1, *images.shape[1:3])
                )
                alone = least(lambda batches=batches: drawn(batches))
                whole = least(lambda: list(train(classifier, batches, one, recipe)))  # noqa: B023 - called at once
                row = {"side": f"{net}, {place}", "loader_seconds": alone, "epoch_seconds": whole}
                print(json.dumps(row | {"share": alone / whole, "n": len(few)}), flush=True)


def drawn(batches: "Loader") -> None:  # noqa: F821 - imported where threads have been set
    """Draw every batch of an epoch."""
    for _ in batches.epoch(1):
        pass


def least(work: Callable[[], object]) -> float:
    """Give the fewest seconds of three goes."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
