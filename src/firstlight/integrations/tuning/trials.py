"""The trials of a search: what each one drew, and how it did on validation."""

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from firstlight.evaluation.intervals import Estimate
from firstlight.files import write_csv

TRIALS_FILE = "trials.csv"

Status = Literal["done", "stopped early", "failed", "running"]


@dataclass(frozen=True)
class Trial:
    """A trial.

    Attributes:
        number: from 0; if a process was killed, its number is left out.
        status: `stopped early` if it was clearly worse than others half-way.
        accuracy: on validation; of a trial that was stopped, that of its best epoch. None if there is none.
        log_loss: on validation, in nats; only of one that is done.
        epochs: how many it was trained.
        seconds: it took.
        choices: what it drew, by name.
        is_default: whether it is the recipe that the search began with.
        reason: why it failed; empty if it did not.
        host: the machine that trained it.
        folder: its run folder there.
        hits: which validation images it got right, bool `[n]`; only of one that is done.
    """

    number: int
    status: Status
    accuracy: Estimate | None = None
    log_loss: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    choices: dict[str, Any] = field(default_factory=dict)
    is_default: bool = False
    reason: str = ""
    host: str = ""
    folder: str = ""
    hits: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"trial {self.number}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        accuracy = self.accuracy
        return {
            "trial": self.number,
            "status": self.status,
            "default": self.is_default,
            "accuracy": None
            if accuracy is None
            else {"value": accuracy.value, "low": accuracy.low, "high": accuracy.high, "n": accuracy.n},
            "log_loss": self.log_loss,
            "trained_epochs": self.epochs,
            "seconds": self.seconds,
            "choices": {
                name: list(value) if isinstance(value, tuple) else value for name, value in self.choices.items()
            },
            "reason": self.reason,
        }


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials, the best first: those that are done, by accuracy, log loss and number, then all others."""

    def rank(trial: Trial) -> tuple[Any, ...]:
        accuracy = -1.0 if trial.accuracy is None else trial.accuracy.value
        order = ("done", "stopped early", "running", "failed").index(trial.status)
        return order, -accuracy, np.inf if trial.log_loss is None else trial.log_loss, trial.number

    return sorted(trials, key=rank)


def finished(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that were trained to the end, the best first."""
    return [trial for trial in ranked(trials) if trial.status == "done"]


def write_trials(folder: Path, trials: Sequence[Trial], searched: Sequence[str]) -> Path:
    """Write `trials.csv`, the best trial first, with a column for each choice that is searched; return its path."""
    rows: list[tuple[Any, ...]] = [
        ("trial", "status", "default", "accuracy", "low", "high", "n", "log_loss", "trained_epochs", "seconds")
        + (*searched, "reason")
    ]
    for trial in ranked(trials):
        accuracy = trial.accuracy
        scores = ("",) * 4 if accuracy is None else (accuracy.value, accuracy.low, accuracy.high, accuracy.n)
        loss = "" if trial.log_loss is None else trial.log_loss
        drawn = (written(trial.choices.get(name, "")) for name in searched)
        default = "yes" if trial.is_default else ""
        rows.append(
            (trial.number, trial.status, default, *scores, loss, trial.epochs, trial.seconds, *drawn, trial.reason)
        )
    write_csv(folder / TRIALS_FILE, rows)
    return folder / TRIALS_FILE


def written(value: Any) -> str:
    """Return the value of a choice in a table."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def packed_hits(hits: NDArray[np.bool_]) -> str:
    """Return which images were right as a short text."""
    return base64.b85encode(zlib.compress(np.packbits(hits).tobytes(), 9)).decode()


def unpacked_hits(text: str, n: int) -> NDArray[np.bool_]:
    """Return bool `[n]` from such a text."""
    bits = np.frombuffer(zlib.decompress(base64.b85decode(text)), np.uint8)
    return np.unpackbits(bits, count=n).astype(bool)
