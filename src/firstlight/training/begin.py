"""Begin a run in a folder of its own, or go on with one that was interrupted or killed; no other process may then.

Where several processes train together, rank 0 begins or resumes, and the others are `following`.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from firstlight.data.samples import Samples
from firstlight.disk import require_room
from firstlight.errors import RecipeError, RunError, UserError
from firstlight.files import expand_user, read_regular_text
from firstlight.models.recipe import BACKBONE_WORDS
from firstlight.progress import announce
from firstlight.runs.begun import (
    TakenError,
    asked_file,
    clear_what_is_over,
    is_begun,
    is_finished,
    owning,
    read_begun,
    require_new,
    write_begun,
)
from firstlight.runs.folder import LAST_FOLDER, RECIPE_FILE, make_run_folder, require_free
from firstlight.runs.kept_on_failure import telling_what_is_kept
from firstlight.runs.record import read_record
from firstlight.runs.sent import sent
from firstlight.runtime.distributed import remember, world
from firstlight.training.checkpoints import furthest_step
from firstlight.training.ready import Ready, make_ready, what_begins, who_trains
from firstlight.training.recipe import Recipe
from firstlight.training.recipe_file import from_toml, to_toml
from firstlight.training.surroundings import PROCESSES, begun_with, differences_between, require_same


@dataclass(frozen=True)
class OpenRun:
    """A run that has begun and not ended, whose folder belongs to this process.

    Attributes:
        folder: the run folder; that of rank 0, where several processes train together.
        made: all that the run needs.
        score_test: whether the test split is scored at the end.
        started: when this process began to work on it, by `time.perf_counter`.
    """

    folder: Path
    made: Ready
    score_test: bool
    started: float


@contextmanager
def beginning(
    samples: Samples, recipe: Recipe, out: Path | str | None = None, *, score_test: bool = True
) -> Iterator[OpenRun]:
    """Make a run folder, and hold it for this process within the block.

    Args:
        samples: from `load_data`.
        recipe: every choice, as it was asked for.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.
        score_test: whether to score the test split at the end.

    Raises:
        UserError: if the data or the recipe cannot be used.
    """
    started, out = time.perf_counter(), expand_user(out) if out is not None else None
    if out is not None:
        clear_what_is_over(out)
    require_free(out)
    made = make_ready(samples, recipe)
    require_same(made)
    if score_test and not len(made.data.split.test):
        reason = "this leaves no pictures to test on; give a third number above 0"
        raise RecipeError(reason, field="split", value=recipe.data.split)
    require_room(
        out or Path("runs"), made.bytes_of_run, "this run", "free some room, or choose another folder with `out`"
    )
    announce(what_begins(made.data, made.recipe, made.device.type))
    if (together := who_trains(made.data, made.recipe)) is not None:
        announce(together)
    folder = make_run_folder(samples.name, out)
    remember(str(folder.absolute()))
    with owning(folder), telling_what_is_kept(folder, is_new=True):
        require_new(folder)
        write_begun(folder, begun_with(made, score_test=score_test), to_toml(recipe, samples.source))
        yield _opened(OpenRun(folder, made, score_test, started))


@contextmanager
def following(samples: Samples, recipe: Recipe) -> Iterator[OpenRun]:
    """Take part in a run that rank 0 begins or resumes at the same time, within the block.

    Args:
        samples: from `load_data`, the same as in rank 0.
        recipe: every choice, as it was asked for.

    Raises:
        UserError: if the data or the recipe cannot be used, or are not the same in all processes.
    """
    started = time.perf_counter()
    made = make_ready(samples, recipe)
    require_same(made)
    told = world().from_leader()
    yield OpenRun(Path(told["folder"]), made, told["score_test"], started)


def _opened(run: OpenRun) -> OpenRun:
    """Tell the processes that are `following` which run it is, and return it."""
    world().from_leader({"folder": str(run.folder), "score_test": run.score_test})
    return run


@contextmanager
def resuming(folder: Path | str, samples: Samples, *, inexact: bool = False) -> Iterator[OpenRun]:
    """Hold the folder of a run that was interrupted or killed, to go on with it within the block.

    Args:
        folder: the run folder.
        samples: what it was trained on.
        inexact: go on even where the bits will differ.

    Raises:
        RunError: if the run is finished, another process is training it, its state is damaged, or its bits would
            differ; the message says why.
        UserError: if the data cannot be used.
    """
    started, folder = time.perf_counter(), expand_user(folder)
    clear_what_is_over(folder)
    read_begun(folder)
    with owning(folder), telling_what_is_kept(folder, is_new=False):
        if not is_begun(folder):  # until a moment ago, it was the run of a process that has finished it
            raise TakenError(f"{folder}: another process has just finished this run, so there is nothing to resume")
        begun = read_begun(folder)
        made = make_ready(samples, _asked(folder)[0])
        require_same(made)
        differences = differences_between(begun, begun_with(made, score_test=begun.score_test))
        if world().restarts and (other := [words for words in differences if words.startswith(PROCESSES)]):
            announce(f"note: {other[0]}, so the model may come out slightly different")
            differences.remove(other[0])
        if differences and not inexact:
            raise RunError(
                f"{folder}: the run would not end with the same bits, because {'; '.join(differences)}; "
                "set `resume_inexact` to go on anyway"
            )
        announce(f"continuing {folder}")
        remember(str(folder.absolute()))
        yield _opened(OpenRun(folder, made, begun.score_test, started))


@contextmanager
def resuming_or_beginning(
    samples: Samples, recipe: Recipe, out: Path | str | None = None, *, score_test: bool = True, inexact: bool = False
) -> Iterator[OpenRun]:
    """Hold the unfinished run with this recipe and source that has come furthest; or begin one.

    Runs that other commands are training are left to them. The arguments are those of `beginning` and `resuming`; with
    `out`, no other folder is looked at.
    """
    with ExitStack() as held:
        for folder in unfinished(recipe, samples.source, out):
            with nullcontext() if out else suppress(TakenError):
                run = held.enter_context(resuming(folder, samples, inexact=inexact))
                break
        else:
            run = held.enter_context(beginning(samples, recipe, out, score_test=score_test))
        yield run


def asked_of(folder: Path | str) -> tuple[Recipe, str]:
    """Return the recipe and the source that a run was begun with, as they were asked for.

    Raises:
        RunError: if the run is finished, or there is none.
    """
    folder = expand_user(folder)
    if world().is_leader:
        clear_what_is_over(folder)
        read_begun(folder)
    with sent(folder, f"{LAST_FOLDER}/{RECIPE_FILE}") as copy:
        return _asked(copy)


def _asked(folder: Path) -> tuple[Recipe, str]:
    file = asked_file(folder)
    try:
        recipe, source, _ = from_toml(file)
    except UserError:
        source = None
    if source is None:
        raise RunError(f"{file}: it is damaged, so the run cannot be resumed; train again in another folder")
    return recipe, source


def unfinished(recipe: Recipe, source: str, out: Path | str | None = None) -> list[Path]:
    """Return the runs with this recipe and source that are not finished, those that have come furthest first.

    Clocks and the times of files do not count. Of runs that have come as far, the one with the higher number is first.

    Args:
        recipe: as it was asked for.
        source: likewise.
        out: the only run folder to look at; by default, all in `runs/`.
    """
    wanted = to_toml(recipe, source)
    folders = [folder for folder in (Path("runs").glob("*") if out is None else [expand_user(out)]) if is_begun(folder)]
    same = [folder for folder in folders if _text_of(asked_file(folder)) == wanted]
    return sorted(same, key=lambda folder: (furthest_step(folder), len(folder.name), folder.name), reverse=True)


def is_over(folder: Path | str, samples: Samples, recipe: Recipe) -> bool:
    """Return whether a folder holds a finished run on these images that was clearly asked for by this recipe.

    Choices that were left open may have become anything.
    """
    folder = expand_user(folder)
    if not is_finished(folder):
        return False
    try:
        done, source, _ = from_toml(folder / RECIPE_FILE)
        key = read_record(folder).source_key
    except UserError:
        return False
    chosen, made = recipe.flat(), done.flat()
    is_open = {name for name, value in chosen.items() if value is None}
    if recipe.model.name == "auto" or recipe.model.name in BACKBONE_WORDS:
        is_open.add("model")
    is_same = all(name in is_open or value == made[name] for name, value in chosen.items())
    return is_same and source == samples.source and key == samples.images.content_key()


def _text_of(file: Path) -> str | None:
    """Return the text of a file; None if it cannot be read, as where somebody has removed it."""
    with suppress(OSError):
        return read_regular_text(file)
    return None
