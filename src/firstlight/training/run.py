"""A run that is over: where it is, what it made, how good that is, and the record of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firstlight.data.dataset import Dataset
from firstlight.data.split import SPLIT_NAMES
from firstlight.evaluation.evaluate import Evaluation, Mistake
from firstlight.files import write_json
from firstlight.models.classifier import Classifier
from firstlight.training.loop import Epoch
from firstlight.training.recipe import Recipe
from firstlight.training.transfer.ladder import Transfer


@dataclass(frozen=True)
class Run:
    """A finished run: where it is, what it made, and how good that is.

    Attributes:
        folder: the run folder.
        model: the best classifier by validation, in eval mode.
        recipe: complete, as recorded in `recipe.toml`.
        data: what it was trained and scored on.
        history: a row an epoch.
        best_epoch: the one that the model is of.
        seconds: what packing, training and the whole took.
        valid: scores on the validation split, which chose the model and its temperature: a little rosy.
        test: scores on the test split, taken once; None if the run was interrupted.
        transfer: how a pretrained network was used; None if there was none.
        mistakes: the most confident mistakes on the test split.
    """

    folder: Path
    model: Classifier
    recipe: Recipe
    data: Dataset
    history: list[Epoch]
    best_epoch: int
    seconds: dict[str, float]
    valid: Evaluation
    test: Evaluation | None
    transfer: Transfer | None = None
    mistakes: tuple[Mistake, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Give what `firstlight train --json` prints."""
        return {
            "run": str(self.folder),
            "model": str(self.folder / "model.safetensors"),
            "source": self.data.samples.source,
            "classes": list(self.model.classes),
            "n": {part: len(self.data.split.part(part)) for part in SPLIT_NAMES},
            "quarantined": len(self.data.store.quarantined),
            "leaks": len(self.data.leaks),
            "dropped": len(self.data.dropped),
            "notes": [*self.data.samples.notes, *self.data.notes],
            "epochs": self.history[-1].epoch,  # what stood before the first is row 0
            "seconds": self.seconds,
            "valid": headline(self.valid),
            "test": headline(self.test) if self.test else None,
            **(self.transfer.to_json() if self.transfer else {}),
        }

    def write_record(self, test_evaluations: int) -> None:
        """Write `evaluation.json`, with how often the test split has been looked at."""
        names = self.data.samples.names
        record = {
            **self.to_json(),
            "best_epoch": self.best_epoch,
            "source_key": self.data.store.content_key,
            "test_evaluations": test_evaluations,
            "valid": self.valid.to_json(),
            "test": self.test.to_json() if self.test else None,
            "leaked": [[names[row] for row in leak] for leak in self.data.leaks],
        }
        write_json(self.folder / "evaluation.json", record)


def headline(evaluation: Evaluation) -> dict[str, Any]:
    """Give the numbers that are read first, each with its interval and n."""
    scores = evaluation.to_json()
    return {name: scores[name] for name in ("accuracy", "log_loss", "top5", "macro_f1", "ece")}
