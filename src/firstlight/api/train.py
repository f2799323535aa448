"""Train a classifier."""

from pathlib import Path
from typing import Any

from firstlight.api.given import Data, recipe_of, samples_of
from firstlight.delivery.figures import draw_run
from firstlight.delivery.report.write import write_run_report
from firstlight.errors import require_type
from firstlight.training import train as training
from firstlight.training.recipe import Recipe
from firstlight.training.run import Run


def train(
    data: Data, recipe: Recipe | None = None, *, out: Path | str | None = None, score_test: bool = True, **choices: Any
) -> Run:
    """Train a classifier, score it once on the test split, save it, and draw the figures of the run.

    Args:
        data: from `load_data`, or anything that `load_data` takes.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.
        score_test: whether to score the test split at the end. A search over recipes leaves it locked.
        choices: single choices by their names on the command line, such as `model="mlp"` or `epochs=3`; they replace
            those of `recipe`.

    Raises:
        UserError: if the data or the recipe cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    recipe = recipe_of(recipe, choices)
    require_type(out, Path | str | None, "out", "the path of a new folder")
    require_type(score_test, bool, "score_test", "True or False")
    run = training.train(samples_of(data, recipe.data.source_choices()), recipe, out, score_test=score_test)
    if not run.interrupted:
        draw_run(run.folder)
        write_run_report(run.folder)
    return run
