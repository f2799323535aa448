"""A completed run: its folder, its model, and its scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from firstlight.data.dataset import Dataset
from firstlight.evaluation.evaluate import Evaluation
from firstlight.evaluation.mistakes import MISTAKES_SHOWN, Mistake, worst_mistakes
from firstlight.models.classifier import Classifier
from firstlight.runs.folder import paths_in
from firstlight.runs.outputs import read_outputs
from firstlight.runs.record import Record, TransferRecord
from firstlight.training.recipe import Recipe
from firstlight.training.state import Epoch


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: the run folder.
        model: the best classifier on validation, in evaluation mode.
        recipe: complete, as recorded in `recipe.toml`.
        data: what it was trained and scored on.
        history: a row for each epoch.
        record: everything else that is known of the run, as recorded in `evaluation.json`.
        interrupted: whether Ctrl-C ended training early.
    """

    folder: Path
    model: Classifier
    recipe: Recipe
    data: Dataset
    history: list[Epoch]
    record: Record
    interrupted: bool = False

    @property
    def valid(self) -> Evaluation:
        """Scores on the validation split; a little optimistic, since it chose the model and its temperature."""
        return self.record.valid

    @property
    def test(self) -> Evaluation | None:
        """Scores on the test split, taken once; None if it was left locked."""
        return self.record.test

    @property
    def best_epoch(self) -> int:
        """The epoch that the model is from; 0 for a pretrained network with the exact head."""
        return self.record.best_epoch

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that packing, training and the whole run took."""
        return self.record.seconds

    @property
    def transfer(self) -> TransferRecord | None:
        """How a pretrained network was used; None if there was none."""
        return self.record.transfer

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The most confident mistakes on the test split, worst first; empty if it was left locked.

        Raises:
            RunError: if the outputs in the run folder are gone.
        """
        if self.test is None:
            return ()
        outputs = read_outputs(self.folder, "test")
        logits, labels, rows = map(torch.from_numpy, (outputs.logits, outputs.labels, self.data.split.test))
        return worst_mistakes(logits, labels, rows, MISTAKES_SHOWN, temperature=self.model.temperature.item())

    def to_json(self) -> dict[str, Any]:
        """Return what `firstlight train` prints as JSON."""
        return paths_in(self.folder) | self.record.summary()
