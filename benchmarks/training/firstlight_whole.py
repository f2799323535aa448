"""firstlight as its users run it, with everything included: from the files of the set to the figures in the run folder.

That means reading, packing, searching for copies and leaks, splitting, training, choosing, calibrating, scoring,
saving, and drawing. A first run starts with an empty cache; the next one (`--again`) uses what it left there.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from recipes import in_words, number_type, recipe_for

import firstlight as fl
from firstlight.runtime.processors import set_up_process


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="what `firstlight train` takes")
    parser.add_argument("--data-root", help="folder with named sets")
    parser.add_argument("--net", choices=("mlp", "cnn"), required=True)
    parser.add_argument("--set", required=True, help="name of the set in the contest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=float, default=0.98)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--cache", type=Path, required=True, help="folder for packed pictures")
    parser.add_argument("--again", action="store_true", help="use what an earlier run left in the cache")
    choices = parser.parse_args()
    cache = choices.cache / "contest"  # a folder that only this script uses, because it is emptied
    if choices.again and not cache.exists():
        parser.error(f"{cache}: there was no earlier run")
    if not choices.again:
        shutil.rmtree(cache, ignore_errors=True)
    set_up_process()  # as the command line does
    _ = fl.train, fl.load_data  # imports are not timed for any side
    os.environ["FIRSTLIGHT_CACHE"] = str(cache)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        samples = fl.load_data(choices.source, data_root=choices.data_root)
        recipe = recipe_for(choices.net, choices.set, choices.target, choices.seed, choices.epochs)
        run = fl.train(samples, recipe, out=f"{folder}/run")
        seconds = time.perf_counter() - started
    ends = [0.0, *(row.seconds for row in run.history)]
    result = {
        "side": "firstlight, next run" if choices.again else "firstlight, first run",
        "seconds": seconds,
        "load_seconds": run.seconds["pack"],
        "epochs": len(run.history),
        "epoch_seconds": median(end - start for start, end in zip(ends, ends[1:], strict=False)),
        "valid": run.valid.accuracy.value,
        "test": run.test.accuracy.value,
        "versions": {name: version(name) for name in ("firstlight", "torch")},
        "recipe": in_words(run.recipe, number_type()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
