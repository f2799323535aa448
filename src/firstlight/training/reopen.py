"""The data of a finished run, reopened from what its folder says about it."""

from dataclasses import replace
from pathlib import Path

from firstlight.data.dataset import Dataset, open_dataset
from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.errors import DataError, RunError
from firstlight.escaping import escape_name
from firstlight.models.spec import NetworkSpec
from firstlight.runs.folder import CORRECTIONS_FILE, SPLIT_FILE
from firstlight.runs.record import Record
from firstlight.training.recipe import Recipe


def reopen_data(folder: Path, recipe: Recipe, record: Record, samples: Samples | None = None) -> Dataset:
    """Return what a run was trained and scored on, split as its `split.csv` says.

    Args:
        folder: the run folder.
        recipe: as recorded in it.
        record: likewise.
        samples: the labeled images; by default what the run was trained on is loaded again.

    Raises:
        RunError: if the images are gone, or are no longer the same.
    """
    source = escape_name(record.source)
    advice = f"pass them again: fl.load_run({str(folder)!r}, data=...)"
    if samples is None:
        try:
            samples = load_data(record.source, **recipe.data.source_choices(), download=False)
        except DataError:
            raise RunError(f"{folder}: the pictures of this run ({source}) are no longer here; {advice}") from None
    choices = replace(recipe.data, split=str(folder / SPLIT_FILE), allow_quarantine=True)
    if choices.corrections is not None:  # the copy holds those that were applied
        choices = replace(choices, corrections=str(folder / CORRECTIONS_FILE), correct_test=True)
    network = NetworkSpec.of(recipe.model.name, pretrained=recipe.model.pretrained)
    data = open_dataset(
        samples,
        choices,
        default_side=network.default_side,
        default_resize=network.default_resize,
        seed=recipe.seed,
    )
    if data.store.content_key != record.source_key:
        raise RunError(f"{folder}: the pictures of {escape_name(samples.source)} are not those of this run; {advice}")
    return replace(data, notes=record.notes)
