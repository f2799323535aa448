"""What all sides of the training contest share: the command line, the arrays, the clock, and the JSON line."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """One split of a set: uint8 images [N, H, W, C] and int64 labels [N]."""

    images: np.ndarray
    labels: np.ndarray


class Contest:
    """The run of one side: `load`, then `begin`, a `lap` after every epoch until it is `over`, then `finish`.

    The clock runs from `load` to the last lap, and is stopped while a lap computes the validation accuracy.
    """

    def __init__(self, side: str, *, nets: Sequence[str] = ("mlp",)) -> None:
        parser = argparse.ArgumentParser(
            description=f"Train as users of {side} do, and print the result as one JSON line."
        )
        parser.add_argument("--arrays", type=Path, required=True, help="npz with {train,valid,test}_{images,labels}")
        parser.add_argument("--net", choices=nets, required=True)
        parser.add_argument("--set", choices=("mnist", "fashion-mnist", "cifar10"), default="mnist")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--target", type=float, default=0.98, help="stop at this validation accuracy")
        parser.add_argument("--most-epochs", type=int, default=30, help="stop here if the target is not reached")
        parser.add_argument("--epochs", type=int, help="train exactly this many, without validation in between")
        parser.add_argument("--tuned", action="store_true", help="use what helped firstlight, if the side supports it")
        self.choices = parser.parse_args()
        self.side = f"{side}, tuned" if self.choices.tuned else side
        self.over = False
        self._epoch_seconds: list[float] = []

    def load(self) -> tuple[Split, Split, Split]:
        """Start the clock and read the train, validation and test splits."""
        self._since = time.perf_counter()
        with np.load(self.choices.arrays) as arrays:
            train, valid, test = (
                Split(arrays[f"{name}_images"], arrays[f"{name}_labels"]) for name in ("train", "valid", "test")
            )
        self._valid, self._test, self._epoch_images = valid, test, len(train.labels)
        return train, valid, test

    def begin(self, accuracy: Callable[[Split], float]) -> None:
        """Declare data and network ready, and how this side scores a split; the first epoch starts now."""
        self._accuracy = accuracy
        self._load_seconds = self._elapsed()

    def lap(self) -> None:
        """End an epoch; the contest is `over` once the target or the last epoch is reached."""
        self._epoch_seconds.append(self._elapsed())
        epochs, exactly = len(self._epoch_seconds), self.choices.epochs
        self.over = epochs >= (exactly or self.choices.most_epochs)
        if self.over or exactly is None:
            self._valid_accuracy = float(self._accuracy(self._valid))
            self._reached = self._valid_accuracy >= self.choices.target
            self.over = self.over or self._reached
        self._since = time.perf_counter()

    def finish(self, recipe: str, packages: Sequence[str], **more: object) -> None:
        """Score the test split once, and print the result together with `more`."""
        result = {
            "side": self.side,
            "seconds": self._load_seconds + sum(self._epoch_seconds),
            "load_seconds": self._load_seconds,
            "epochs": len(self._epoch_seconds),
            "epoch_images": self._epoch_images,
            "epoch_seconds": statistics.median(self._epoch_seconds),
            "reached": self._reached,
            "valid": self._valid_accuracy,
            "test": float(self._accuracy(self._test)),
            "versions": {name: version(name) for name in packages},
            "recipe": recipe,
        } | more
        print(json.dumps(result))

    def _elapsed(self) -> float:
        """Return the seconds since the last call, and restart the clock."""
        before, self._since = self._since, time.perf_counter()
        return self._since - before
