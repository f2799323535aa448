"""A finished run: its folder, its model, and its scores, as returned by training or loaded from its folder."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from firstlight.data.dataset import Dataset
from firstlight.data.samples import Samples
from firstlight.errors import RunError
from firstlight.evaluation.evaluate import Evaluation
from firstlight.evaluation.mistakes import Mistakes, worst_mistakes
from firstlight.files import expand_user
from firstlight.inference.image_classifier import ImageClassifier
from firstlight.models.model_file import load_model
from firstlight.runs.folder import (
    METRICS_FILE,
    MODEL_FILE,
    RECIPE_FILE,
    RECORD_FILE,
    REPORT_FILE,
    paths_in,
    read_metrics,
)
from firstlight.runs.outputs import read_outputs
from firstlight.runs.record import Record, TransferRecord, read_record
from firstlight.runs.sent import sent
from firstlight.tables import Html, data_frame
from firstlight.training.recipe import Recipe
from firstlight.training.recipe_file import from_toml
from firstlight.training.reopen import reopen_data
from firstlight.training.state import Epoch

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    Attributes:
        folder: the run folder, or the model file in it.
        model: the best classifier on validation, in evaluation mode.
        recipe: complete, as recorded in `recipe.toml`.
        opened: its data; None if they have not been opened yet, see `data`.
        history: a row for each epoch.
        record: everything else that is known of the run, as recorded in `evaluation.json`.
        interrupted: whether Ctrl-C ended training early.
    """

    folder: Path
    model: ImageClassifier
    recipe: Recipe
    opened: Dataset | None
    history: list[Epoch]
    record: Record
    interrupted: bool = False

    @cached_property
    def data(self) -> Dataset:
        """What it was trained and scored on; for a run from `load_run`, it is opened when first used.

        Raises:
            RunError: if the images are gone, or are no longer the same.
        """
        return self.opened or reopen_data(self.folder, self.recipe, self.record)

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
    def mistakes(self) -> Mistakes:
        """All mistakes on the test split, the most confident first; empty if it was left locked.

        Each names its image; its row is -1 if the data of the run are no longer here.

        Raises:
            RunError: if the outputs in the run folder are gone.
        """
        if self.test is None:
            return Mistakes((), self.model.classes)
        outputs = read_outputs(self.folder, "test")
        logits, labels = torch.from_numpy(outputs.logits), torch.from_numpy(outputs.labels)
        found = worst_mistakes(logits, labels, count=len(labels), temperature=self.model.temperature.item())
        rows = self._test_rows(len(labels))
        named = (mistake._replace(row=rows[mistake.row], image=outputs.names[mistake.row]) for mistake in found)
        return Mistakes(named, self.model.classes)

    def _test_rows(self, count: int) -> list[int]:
        try:
            rows: list[int] = self.data.split.test.tolist()
        except RunError:
            return [-1] * count
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return what `firstlight train` prints as JSON."""
        return paths_in(self.folder) | {"report": self._report()} | self.record.summary()

    def _report(self) -> str | None:
        """Return where the report is; None if there is none, as of a search's runs."""
        file = self.folder / REPORT_FILE
        return str(file) if file.is_file() else None

    def to_pandas(self) -> "DataFrame":
        """Return one row for each epoch, as `metrics.csv` has them; the best one is `best_epoch`."""
        return data_frame({field.name: getattr(row, field.name) for field in fields(row)} for row in self.history)

    def __repr__(self) -> str:
        score = f"test accuracy {self.test.accuracy}" if self.test else f"validation accuracy {self.valid.accuracy}"
        return f"Run({str(self.folder)!r}, {self.recipe.model.name}, {score})"

    def _repr_html_(self) -> str:
        """Show the run in a notebook: what it was made of, its scores, and its worst classes."""
        counts = ", ".join(f"{count:,} {split}" for split, count in self.record.n.items())
        best = f", best epoch {self.best_epoch}" if self.best_epoch else ""  # a head that was solved for has none
        facts = {
            "model": f"{self.recipe.model.name}, {len(self.model.classes):,} classes" + best,
            "pictures": f"{counts}, from {self.record.source}",
            "validation accuracy": str(self.valid.accuracy),
            "seconds": f"{self.seconds['total']:,.1f}",
        }
        if not self.test:
            facts["test accuracy"] = "not scored"
        shown = Html(f"Run {self.folder}").facts(facts)
        if self.test:
            self.test.add_to(shown, "test scores, 95% intervals")
        return shown.notes(self.record.notes).text()


def run_of_leader(folder: Path) -> Run:
    """Return the finished run in a folder of rank 0, in every process that trains together with it."""
    with sent(folder, RECIPE_FILE, RECORD_FILE, METRICS_FILE, MODEL_FILE) as copy:
        return replace(load_run(copy), folder=folder)


def load_run(folder: Path | str, samples: Samples | None = None) -> Run:
    """Return a finished run, such as training returns it, from its folder alone.

    Args:
        folder: the run folder.
        samples: the data of the run, if they are no longer where they were; otherwise they are opened when needed.

    Raises:
        RunError: if the folder holds no run, or a file in it is damaged; if the data are not those of the run.
        ModelFileError: if the model cannot be loaded.
    """
    folder = expand_user(folder)
    if folder.name == MODEL_FILE:
        folder = folder.parent
    record = read_record(folder)
    recipe = from_toml(folder / RECIPE_FILE).recipe
    history = []
    if (folder / METRICS_FILE).is_file():
        names = [field.name for field in fields(Epoch)]
        try:
            history = [Epoch(**{name: row[name] for name in names}) for row in read_metrics(folder)]  # type: ignore[arg-type]
        except KeyError as error:
            raise RunError(f"{folder / METRICS_FILE}: it has no column {error}; it is damaged") from None
    opened = reopen_data(folder, recipe, record, samples) if samples is not None else None
    model = ImageClassifier.of(load_model(folder / MODEL_FILE))
    return Run(folder, model, recipe, opened, history, record)
