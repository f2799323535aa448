"""What the attempts share: a folder, pictures, and a small run whose model, report and record they attack."""

import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

COUNT = 200  # pictures


@dataclass
class Place:
    """A folder with what is attacked.

    Attributes:
        folder: for everything.
        pictures: a folder of digits, one folder for each class.
        run: a run that learned them.
        most: how many inputs of a row are tried at most; None for all.
    """

    folder: Path
    pictures: Path
    run: Path
    most: int | None = None

    def count(self, goal: int) -> int:
        """Return how many inputs to try where the goal is this many."""
        return goal if self.most is None else min(goal, self.most)

    def fresh(self, name: str) -> Path:
        """Return an empty folder of a name that is not taken, for the process that asks."""
        folder = self.folder / "fresh" / f"{name}-{os.getpid()}"
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return folder


def made_place(folder: Path, most: int | None = None) -> Place:
    """Make everything in a folder, and return it; the cache is in there, too."""
    os.environ["FIRSTLIGHT_CACHE"] = str(folder / "cache")
    _write_pictures(folder / "digits")
    _train(folder / "digits", folder / "run")
    _import_the_rest()
    return Place(folder, folder / "digits", folder / "run", most)


def _write_pictures(folder: Path) -> None:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    real = load_digits()
    for number in range(COUNT):
        file = folder / str(real.target[number]) / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(real.images[number] * (255 / 16)).astype(np.uint8)).save(file)


def _train(pictures: Path, run: Path) -> None:
    import firstlight as fl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fl.train(pictures, out=run, model="mlp", hidden=(16,), epochs=20, batch_size=32)


def _import_the_rest() -> None:
    """Import what commands import when they run, so that forked processes have it."""
    from importlib import import_module

    for name in (
        "api",
        "cli",
        "delivery.report.write",
        "delivery.explain",
        "delivery.predict",
        "models.weights",
        "training.repeat",
    ):
        import_module(f"firstlight.{name}")
