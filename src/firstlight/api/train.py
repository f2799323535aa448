"""Train a classifier."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from firstlight.api.given import Data, recipe_of, run_folder_of, samples_of
from firstlight.delivery.figures import draw_run
from firstlight.delivery.report.write import write_run_report
from firstlight.errors import RecipeError, WrongTypeError, require_type
from firstlight.files import expand_user
from firstlight.progress import announce, silence
from firstlight.runs.begun import end_run, is_finished
from firstlight.runtime.distributed import remembered
from firstlight.runtime.joining import joining
from firstlight.training.begin import asked_of, beginning, following, is_over, resuming, resuming_or_beginning
from firstlight.training.checkpoints import SAVE_EVERY
from firstlight.training.recipe import Recipe
from firstlight.training.run import Run, run_of_leader
from firstlight.training.train import train_in

MAX_MINUTES = 1e6


def train(
    data: Data | None = None,
    recipe: Recipe | None = None,
    *,
    out: Path | str | None = None,
    score_test: bool = True,
    resume: Path | str | Run | None = None,
    resume_inexact: bool = False,
    save_every: float = SAVE_EVERY,
    **choices: Any,
) -> Run:
    """Train a classifier, score it once on the test split, save it, and draw the figures of the run.

    A run that is killed, or interrupted with Ctrl-C, can be resumed; it ends with the bits that it would have had.

    Args:
        data: from `load_data`, or anything that `load_data` takes. A run that is resumed knows where its data are.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.
        score_test: whether to score the test split at the end. A search over recipes leaves it locked.
        resume: the folder of a run to go on with; or `auto` for the unfinished one in `runs/`, or in `out`, with this
            recipe and source, the one that has come furthest if there are several; or a new one if there is none.
        resume_inexact: go on with a run even if something has changed, so that it will end with other bits.
        save_every: minutes; how often, besides after epochs, the state of training is written.
        choices: single choices by their names on the command line, such as `model="mlp"` or `epochs=3`; they replace
            those of `recipe`.

    Raises:
        UserError: if the data, the recipe or the run cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    require_type(out, Path | str | None, "out", "the path of a new folder")
    require_type(score_test, bool, "score_test", "True or False")
    require_type(resume, Path | str | Run | None, "resume", "the folder of a run, or auto")
    if type(save_every) not in (int, float) or not 0 < save_every <= MAX_MINUTES:
        raise RecipeError("give minutes, above 0", field="save_every", value=save_every)
    with joining() as here, nullcontext() if here.is_leader else silence():
        if resume is None or resume == "auto":
            if data is None:
                raise WrongTypeError("data is missing: give images, or the run to go on with as `resume`")
            recipe = recipe_of(recipe, choices)
            samples = samples_of(data, recipe.data.source_choices())
            out = here.from_leader(remembered()) or out  # the run of this script, if torchrun has started it anew
            auto = resume == "auto" or bool(here.restarts and out)
            if auto and out and here.from_leader(is_over(out, samples, recipe)):
                announce(f"{out}: this run is finished")
                return run_of_leader(expand_user(out))
            if auto:
                leading = resuming_or_beginning(samples, recipe, out, score_test=score_test, inexact=resume_inexact)
            else:
                leading = beginning(samples, recipe, out, score_test=score_test)
        else:
            if recipe is not None or choices or out is not None:
                given = next(iter(choices), "recipe" if recipe is not None else "out")
                raise RecipeError("a run that is resumed keeps its recipe and its folder; leave it out", field=given)
            folder = run_folder_of(resume, "resume")
            if here.restarts and here.from_leader(is_finished(folder)):
                return run_of_leader(folder)
            recipe, source = asked_of(folder)
            samples = samples_of(source if data is None else data, recipe.data.source_choices())
            leading = resuming(folder, samples, inexact=resume_inexact)
        with leading if here.is_leader else following(samples, recipe) as opened:
            run = train_in(opened, save_every=save_every)
            if here.is_leader:
                _finish(run, scored=not opened.score_test or run.test is not None)
        here.barrier()  # whoever gets the run may count on its folder
    return run


def _finish(run: Run, *, scored: bool) -> None:
    """Draw the figures of a run that has ended, and write its report."""
    if not run.interrupted and scored:
        draw_run(run.folder)
        write_run_report(run.folder)
        end_run(run.folder)
