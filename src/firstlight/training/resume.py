"""Go on with a run that was interrupted or killed, to the bits that it would have had undisturbed."""

import time
from pathlib import Path

from firstlight.data.samples import Samples
from firstlight.errors import RunError
from firstlight.files import expand_user
from firstlight.progress import announce
from firstlight.runs.begun import asked_file, is_owned, owning, read_begun
from firstlight.training.checkpoints import SAVE_EVERY
from firstlight.training.ready import make_ready
from firstlight.training.recipe import Recipe
from firstlight.training.recipe_file import from_toml, to_toml
from firstlight.training.run import Run
from firstlight.training.surroundings import begun_with, differences_between
from firstlight.training.train import telling_what_is_kept, train_in


def resume(folder: Path | str, samples: Samples, *, inexact: bool = False, save_every: float = SAVE_EVERY) -> Run:
    """Go on with a run that was interrupted or killed; it ends with the bits that it would have had undisturbed.

    Args:
        folder: the run folder.
        samples: what it was trained on.
        inexact: go on even where the bits will differ.
        save_every: as for `train`.

    Raises:
        RunError: if the run is finished, another process is training it, its state is damaged, or its bits would
            differ; the message says why.
        UserError: if the data cannot be used.
        TrainingError: as `train` does.
    """
    started, folder = time.perf_counter(), expand_user(folder)
    begun = read_begun(folder)
    with owning(folder):
        made = make_ready(samples, from_toml(asked_file(folder)).recipe)
        differences = differences_between(begun, begun_with(made, score_test=begun.score_test))
        if differences and not inexact:
            raise RunError(
                f"{folder}: the run would not end with the same bits, because {'; '.join(differences)}; "
                "set `resume_inexact` to go on all the same"
            )
        announce(f"continuing {folder}")
        with telling_what_is_kept(folder):
            return train_in(folder, made, started=started, score_test=begun.score_test, save_every=save_every)


def asked_of(folder: Path | str) -> tuple[Recipe, str]:
    """Return the recipe and the source that a run was begun with, as they were asked for.

    Raises:
        RunError: if the run is finished, or there is none.
    """
    folder = expand_user(folder)
    read_begun(folder)
    recipe, source, _ = from_toml(asked_file(folder))
    assert source is not None, "it was written with one"
    return recipe, source


def newest_unfinished(recipe: Recipe, source: str, out: Path | str | None = None) -> Path | None:
    """Return the run that was begun last of those with this recipe and source that nobody is training; None if none is.

    Args:
        recipe: as it was asked for.
        source: likewise.
        out: the only run folder to look at; by default, all in `runs/`.
    """
    wanted = to_toml(recipe, source)
    folders = Path("runs").glob("*") if out is None else [expand_user(out)]
    files = [asked_file(folder) for folder in folders if asked_file(folder).is_file()]
    found = [file for file in files if file.read_text("utf-8", "surrogateescape") == wanted]
    free = [file for file in found if not is_owned(file.parents[1])]
    return max(free, key=lambda file: file.stat().st_mtime).parents[1] if free else None
