"""A whole search: get ready, take trials, and score the winner once on the test split."""

import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
from sqlalchemy.exc import SQLAlchemyError

from firstlight.data.samples import Samples
from firstlight.delivery.figures import draw_run
from firstlight.delivery.report.write import write_run_report
from firstlight.errors import TrainingError, UserError
from firstlight.integrations.tuning import study as studies
from firstlight.integrations.tuning.figure import draw_search
from firstlight.integrations.tuning.found import Search
from firstlight.integrations.tuning.search import Searching, name_of_study
from firstlight.integrations.tuning.space import Space, space_of
from firstlight.integrations.tuning.trials import Trial, finished, ranked
from firstlight.progress import announce
from firstlight.runs.begun import TakenError, owning
from firstlight.runs.folder import RECORD_FILE, make_run_folder, require_free
from firstlight.runs.record import read_record
from firstlight.runtime.distributed import launched
from firstlight.training.ready import make_ready
from firstlight.training.recipe import Recipe
from firstlight.training.run import Run, load_run
from firstlight.training.train import evaluate_on_test


def search_recipes(
    samples: Samples,
    recipe: Recipe,
    *,
    trials: int,
    time_limit: float | None = None,
    storage: str | None = None,
    only: Sequence[str] = (),
    keep: Sequence[str] = (),
    out: Path | None = None,
) -> Search:
    """Train a recipe and variations of it, keep the best on validation, and score that one once on the test split.

    Args:
        samples: from `load_data`.
        recipe: the first trial, the default; every other one differs from it in what is searched.
        trials: how many, in all processes that search together.
        time_limit: seconds, for all of them.
        storage: the address of a database, if processes are to search together, or the search is to be continued.
        only: the choices to search; by default those of the table for this kind of network.
        keep: choices that are not searched.
        out: the folder, new or empty; by default `runs/<name>-tune-<n>`.

    Raises:
        UserError: if the data, the recipe or the database cannot be used, or no trial succeeded.
        KeyboardInterrupt: after Ctrl-C, if no trial was done.
    """
    if launched().size > 1:
        raise UserError("a search is not started by torchrun; start it several times with the same `storage` instead")
    deadline = None if time_limit is None else time.monotonic() + time_limit
    require_free(out)
    made = make_ready(samples, recipe)
    space = space_of(made.recipe, min(made.data.store.input_size[1:]), keep=keep, only=only)
    with studies.quiet_optuna():
        try:
            study = studies.open_study(storage, name_of_study(samples.name, made, space), recipe.seed)
            folder = make_run_folder(f"{samples.name}-tune", out)
            _announce(space, study, trials, storage)
            searching = Searching(samples, recipe, made, space, folder, study, trials, deadline)
            interrupted = False
            try:
                searching.go_on()
            except KeyboardInterrupt:
                interrupted = True
            return finish(searching, interrupted=interrupted)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            assert storage is not None
            raise studies.cannot_be_used(storage, error) from None


def _announce(space: Space, study: optuna.Study, trials: int, storage: str | None) -> None:
    """Tell what is searched, and how far that is."""
    names = ", ".join(f"`{name}`" for name in space)
    over = sum(map(studies.is_over, studies.counted(study)))
    where = "" if storage is None else f"; in the database are {over:,} of them, as study {study.study_name}"
    announce(f"searching {names} in {trials:,} trials{where}")


def finish(searching: Searching, *, interrupted: bool) -> Search:
    """Score the winner once, unless the search was interrupted or goes on elsewhere; return what was found.

    Raises:
        TrainingError: if no trial succeeded.
        KeyboardInterrupt: if it was interrupted before one was done.
    """
    trials, notes = searching.table(), list(searching.notes)
    done = finished(trials)
    if not done:
        if interrupted:
            raise KeyboardInterrupt
        reasons = [trial.reason for trial in trials if trial.reason]
        raise TrainingError(f"no trial succeeded{f'; the first one: {reasons[0]}' if reasons else ' in the time'}")
    winner = done[0]
    run, where = run_of(searching, winner)
    others = sum(trial.status == "running" for trial in trials)
    if run is None:
        notes.append(where)
    elif others and not interrupted:
        notes.append(f"other processes have not finished {others:,} trials; the last one scores the winner")
    elif not interrupted:
        try:
            run = score_once(run, winner, searching)
            interrupted = run.interrupted
        except TakenError:
            notes.append(f"another process scores the winner, in {run.folder}")
    searching.write(trials)
    found = Search(
        folder=searching.folder,
        trials=tuple(ranked(trials)),
        asked=searching.trials,
        searched=tuple(searching.space),
        recipe=searching.recipe_of(winner),
        run=run,
        interrupted=interrupted,
        notes=tuple(notes),
    )
    draw_search(searching.folder, trials, found.title)
    return found


def run_of(searching: Searching, trial: Trial) -> tuple[Run | None, str]:
    """Return the run of a trial, of this process or of another one on this machine; or where it is."""
    if run := searching.runs.get(trial.number):
        return run, ""
    folder = Path(trial.folder)
    if trial.host == socket.gethostname() and (folder / RECORD_FILE).is_file():
        return load_run(folder, searching.samples), ""
    return None, (
        f"the run of {trial.name} is on {trial.host} in {trial.folder}, and is scored there; to train it here, give "
        "best.toml to train as its `recipe`"
    )


def score_once(run: Run, trial: Trial, searching: Searching) -> Run:
    """Score the winner on its test split, with figures and a report; if that was done before, return the run as it is.

    Raises:
        TakenError: if another process does that now.
    """
    with owning(run.folder):
        if read_record(run.folder).test is not None:
            return load_run(run.folder, searching.samples)
        earlier = [number for number in searching.study.user_attrs.get("scored", []) if number != trial.number]
        if earlier:
            notes = (*run.record.notes, f"the test split was scored before in this search, for trial {earlier[-1]}")
            run = replace(run, record=replace(run.record, notes=notes))
        searching.study.set_user_attr("scored", [*earlier, trial.number])
        run = evaluate_on_test(run)
        if not run.interrupted:
            draw_run(run.folder)
            write_run_report(run.folder)
    return run
