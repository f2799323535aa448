"""What the attempts share: a folder, pictures, and a small run whose model, report and record they attack."""

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

COUNT = 200  # pictures


@dataclass
class Place:
    """A folder with what is attacked.

    Attributes:
        folder: for everything.
        most: how many inputs of a row are tried at most; None for all.
        pictures: a folder of digits, one folder for each class.
        run: a run that learned them.
    """

    folder: Path
    most: int | None = None
    pictures: Path = field(init=False)
    run: Path = field(init=False)

    def __post_init__(self) -> None:
        os.environ["FIRSTLIGHT_CACHE"] = str(self.folder / "cache")
        self.pictures, self.run = self.folder / "digits", self.folder / "run"
        _write_pictures(self.pictures)
        _train(self.pictures, self.run)
        _import_the_rest()

    def count(self, goal: int) -> int:
        """Return how many inputs to try where the goal is this many."""
        return goal if self.most is None else min(goal, self.most)

    def fresh(self, name: str) -> Path:
        """Return an empty folder of a name that is not taken, for the process that asks."""
        folder = self.folder / "fresh" / f"{name}-{os.getpid()}"
        if folder.exists():
            import shutil

            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return folder


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
