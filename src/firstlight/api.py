"""What Python and the command line share that takes several rooms: a run, and then its pictures."""

from pathlib import Path
from typing import Any

from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.delivery.illustrate import illustrate
from firstlight.training import fit as road
from firstlight.training.recipe import Recipe
from firstlight.training.run import Run


def fit(
    data: Samples | str | Path | tuple[Any, Any], recipe: Recipe | None = None, out: Path | str | None = None
) -> Run:
    """Train a classifier as `training.fit.fit` does, and draw its pictures into the run folder.

    Args:
        data: from `load_data`, or what `load_data` takes.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.

    Raises:
        UserError: if the data or the recipe cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    recipe = recipe or Recipe()
    samples = data if isinstance(data, Samples) else load_data(data, data_root=recipe.data_root)
    run = road.fit(samples, recipe, out)
    if run.test:
        row = int(run.data.split.test[0])
        illustrate(
            run.folder,
            model=run.model,
            evaluation=run.test,
            mistakes=run.mistakes,
            pixels=run.data.store.pixels,
            example=(row, int(samples.labels[row])),
        )
    return run
