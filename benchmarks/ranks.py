"""How many images a second do N processes of T threads train together?

    python benchmarks/ranks.py --set mnist --net mlp --processes 2 --threads 1 --data-root ../shared/data

Prints one JSON line: images a second of each epoch after the first, without validation. Started by torchrun, on one
machine or several, it is one of the processes, and `--processes` is not needed; then rank 0 prints the line.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

VALIDATION = 64  # images, so that scoring takes no time
SMOKE = 512  # images of a set


def main() -> None:
    """Start the processes, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", default="mnist", help="a name, or a folder or an archive")
    parser.add_argument("--net", default="mlp", help="mlp or cnn")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--images", type=int, help="use only the first so many")
    parser.add_argument("--img-size", type=int, help="pixels")
    parser.add_argument("--epochs", type=int, default=3, help="of which the first one is not counted")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--smoke", action="store_true", help="a few pictures")
    choices = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(choices.threads)
    if choices.processes > 1 and "RANK" not in os.environ:
        module = (sys.executable, "-m", "torch.distributed.run", "--standalone")
        sys.exit(subprocess.call([*module, f"--nproc-per-node={choices.processes}", *sys.argv]))
    measure(choices)


def measure(choices: argparse.Namespace) -> None:
    """Train, and print the line."""
    from firstlight.runtime.processors import set_up_process

    set_up_process()
    import torch

    from firstlight.data.dataset import open_dataset
    from firstlight.data.loader import Loader, Sharing
    from firstlight.data.recipe import DataRecipe
    from firstlight.data.sources import load_data
    from firstlight.models.classifier import Classifier
    from firstlight.models.networks import initialize
    from firstlight.runtime.joining import joining
    from firstlight.training.defaults import complete
    from firstlight.training.loop import train_epochs
    from firstlight.training.recipe import Recipe
    from firstlight.training.state import Epoch, Step, TrainState

    torch.set_num_threads(choices.threads)
    known = Path(choices.set).exists()
    samples = load_data(choices.set) if known else load_data(choices.set, data_root=choices.data_root)
    with joining() as processes:
        data = open_dataset(samples, DataRecipe(img_size=choices.img_size))
        images = SMOKE if choices.smoke else choices.images
        rows, valid_rows = data.split.train[:images], data.split.valid[:VALIDATION]
        size = data.store.input_size
        asked = Recipe.of(model=choices.net, epochs=choices.epochs, batch_size=choices.batch_size)
        recipe = complete(asked, color=size[0] == 3, images=len(rows), side=min(size[1:]))
        classifier = Classifier(architecture={"name": choices.net}, classes=samples.classes, input_size=size)
        initialize(classifier.network, "default", torch.Generator().manual_seed(0))
        some = torch.from_numpy(data.store.pixels[rows[:1000]]).permute(0, 3, 1, 2)
        classifier.fit_normalization(some)
        train_loader = Loader(
            data.store.pixels, data.samples.labels, rows, batch_size=recipe.optimization.batch_size, seed=0,
            drop_last=True, sharing=Sharing(processes.rank, processes.size),
        )  # fmt: skip
        valid_loader = Loader(data.store.pixels, data.samples.labels, valid_rows)
        state = TrainState.begin(classifier, recipe)
        rates, last, begun = [], 0.0, time.perf_counter()
        for event in train_epochs(state, train_loader, valid_loader, recipe):
            if isinstance(event, Step):
                last = time.perf_counter()
            elif isinstance(event, Epoch):
                rates.append(len(train_loader) * train_loader.batch_size / (last - begun))
                begun = time.perf_counter()
        row = {
            "side": f"{choices.net}, {processes.size} x {choices.threads}",
            "set": samples.name,
            "processes": processes.size,
            "threads": choices.threads,
            "batch_size": train_loader.batch_size,
            "images": len(rows),
            "images_per_second": median(rates[1:] or rates),
            "rates": rates,
            "train_loss": state.rows[-1].train_loss,
        }
        if processes.is_leader:
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
