"""What a report is made of: everything that a run folder holds, read once, with what is missing left empty."""

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.names import shorten
from firstlight.errors import ModelFileError, RunError
from firstlight.evaluation.evaluate import Evaluation
from firstlight.files import from_cell, open_regular_text, read_regular_text
from firstlight.models.model_file import ModelCard, read_model_card
from firstlight.runs.folder import (
    COPIES_FILE,
    METRICS_FILE,
    MODEL_FILE,
    OUTPUTS_FOLDER,
    QUARANTINE_FILE,
    RECIPE_FILE,
    read_metrics,
)
from firstlight.runs.outputs import (
    FACTS_FILE,
    SMALL_THUMBNAILS_FILE,
    THUMBNAILS_FILE,
    ImageFacts,
    Outputs,
    outputs_file,
    read_facts,
    read_outputs,
    read_thumbnails,
)
from firstlight.runs.record import Record, read_record
from firstlight.runs.suspects import Suspect, read_suspects

Images = Mapping[str, NDArray[np.uint8]]
Rows = list[dict[str, str]]
TITLE_LENGTH = 60  # characters


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What a report is made of; whatever a run lacks is None or empty.

    Attributes:
        title: the name of the run, or of the model.
        source: where the images came from, for people.
        classes: the K names.
        test: the scores that the report is about; None if the test split was left locked.
        outputs: what the model said about the images that `test` is of.
        record: what else is known of the run; None if there is only a model.
        card: what the model file says about itself.
        images: thumbnails of many images, by name.
        originals: larger thumbnails of a few.
        heatmaps: of some of these, with where the network found evidence for its answer.
        facts: about the images of `outputs`, in their order.
        recipe: every choice, by group, as the recipe's file has them.
        epochs: one row per epoch.
        quarantined: `image` and `reason` of what could not be used.
        copies: `group`, `kind`, `image`, `label` and `split` of images that have copies.
        suspects: images whose labels are probably wrong, the most suspect first.
    """

    title: str
    source: str
    classes: tuple[str, ...]
    test: Evaluation | None = None
    outputs: Outputs | None = None
    record: Record | None = None
    card: ModelCard | None = None
    images: Images = field(default_factory=dict)
    originals: Images = field(default_factory=dict)
    heatmaps: Images = field(default_factory=dict)
    facts: ImageFacts | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, float]] = field(default_factory=list)
    quarantined: Rows = field(default_factory=list)
    copies: Rows = field(default_factory=list)
    suspects: Sequence[Suspect] = ()

    @property
    def trust(self) -> Mapping[str, Any] | None:
        """What the model file says about when the model is unsure; None if it says nothing."""
        return self.card.trust if self.card else None


def read_run(folder: Path) -> Material:
    """Return what a run folder holds; only the record must be there.

    Raises:
        RunError: if the folder holds no run, or a file in it is damaged.
    """
    record = read_record(folder)
    outputs = read_outputs(folder, "test") if record.test and outputs_file(folder, "test").is_file() else None
    facts = read_facts(folder) if outputs and (folder / OUTPUTS_FOLDER / FACTS_FILE).is_file() else None
    if outputs and not _go_with(outputs, len(record.classes)):
        raise RunError(f"{outputs_file(folder, 'test')}: it does not go with the record of this run; it is damaged")
    if outputs and facts and len(facts) != len(outputs):
        raise RunError(f"{folder / OUTPUTS_FOLDER}: its files are of different runs; train again")
    return Material(
        title=shorten(folder.resolve().name, TITLE_LENGTH),
        source=record.source,
        classes=record.classes,
        test=record.test,
        outputs=outputs,
        record=record,
        card=_card(folder / MODEL_FILE),
        images=_thumbnails(folder, SMALL_THUMBNAILS_FILE),
        originals=_thumbnails(folder, THUMBNAILS_FILE),
        facts=facts,
        recipe=_recipe(folder / RECIPE_FILE),
        epochs=read_metrics(folder) if (folder / METRICS_FILE).is_file() else [],
        quarantined=_table(folder / QUARANTINE_FILE, ("image", "reason")),
        copies=_table(folder / COPIES_FILE, ("group", "kind", "image", "label", "split")),
        suspects=read_suspects(folder),
    )


def _go_with(outputs: Outputs, num_classes: int) -> bool:
    right_size = outputs.logits.shape[1] == num_classes and bool(np.isfinite(outputs.logits).all())
    return right_size and bool(((outputs.labels >= 0) & (outputs.labels < num_classes)).all())


def _card(file: Path) -> ModelCard | None:
    """Return what the model file says; None if it was moved away or cannot be read, which the report can do without."""
    try:
        return read_model_card(file)
    except ModelFileError:
        return None


def _thumbnails(folder: Path, file: str) -> Images:
    return read_thumbnails(folder, file) if (folder / OUTPUTS_FOLDER / file).is_file() else {}


def _recipe(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular_text(file))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        raise RunError(f"{file}: the recipe of this run cannot be read; it is damaged") from None


def _table(file: Path, columns: tuple[str, ...]) -> Rows:
    """Return the rows of a CSV file that firstlight wrote; none if there is no such file."""
    try:
        with open_regular_text(file, newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            if not set(columns) <= set(rows.fieldnames or ()):
                raise KeyError
            return [{name: from_cell(row[name]) for name in columns} for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, KeyError, AttributeError, TypeError, csv.Error):
        raise RunError(f"{file}: not a table that firstlight wrote; it is damaged") from None
