"""Search for a better recipe: train with other choices, keep the best on validation, and score its test split once."""

import hashlib
import shutil
import socket
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from firstlight.data.samples import Samples
from firstlight.errors import RecipeError, TrainingError
from firstlight.files import write_text
from firstlight.integrations.tuning import study as studies
from firstlight.integrations.tuning.found import BEST_FILE
from firstlight.integrations.tuning.space import Space, draw, own_values
from firstlight.integrations.tuning.trials import Trial, finished, packed_hits, write_trials
from firstlight.progress import announce, announcements_to, phase, progress
from firstlight.runs.begun import end_run
from firstlight.runs.outputs import read_outputs
from firstlight.training.ready import Ready
from firstlight.training.recipe import Recipe
from firstlight.training.recipe_file import to_toml
from firstlight.training.recorder import watched_by
from firstlight.training.run import Run
from firstlight.training.state import Epoch, Step
from firstlight.training.surroundings import begun_with
from firstlight.training.train import train

TENTHS = 10  # of a run, after which trials are compared
MOST_HITS = 60_000  # characters that any database takes
SECONDS_BETWEEN_LOOKS = 1.0  # at the database, while other processes finish their trials


class GivenBackError(Exception):
    """This trial does not count: time is up, or there are enough."""


@dataclass
class Searching:
    """A search that goes on in this process.

    Attributes:
        samples: what is trained on.
        asked: the recipe that the search began with, as it was asked for.
        made: the same, complete, with the images.
        space: what is searched.
        folder: where the runs of the winner and of the default are kept, and the table of trials.
        study: of Optuna; other processes may search in it, too.
        trials: how many there are to be, in all processes together.
        deadline: by `time.monotonic`; None if there is none.
        runs: of trials of this process, by number: the best so far, and the default.
        notes: what a person should know.
    """

    samples: Samples
    asked: Recipe
    made: Ready
    space: Space
    folder: Path
    study: optuna.Study
    trials: int
    deadline: float | None = None
    runs: dict[int, Run] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def go_on(self) -> None:
        """Take trials until there are enough, or time is up; wait for those of other processes.

        Raises:
            KeyboardInterrupt: after Ctrl-C; the trial that was open does not count.
        """
        with progress("searching", self.trials, "trials") as advance:
            shown, started, made_here = 0, time.monotonic(), 0
            while not self._is_time_up():
                counted = studies.counted(self.study)
                over = sum(map(studies.is_over, counted))
                advance(over - shown)
                shown = over
                if not any(map(studies.is_default, counted)):
                    own = own_values(self.space, self.made.recipe)
                    self.study.enqueue_trial(own, user_attrs={"default": True})
                elif len(counted) >= self.trials and not any(map(studies.is_waiting, counted)):
                    if over == len(counted):
                        return
                    with phase("waiting for trials of other processes"):
                        time.sleep(SECONDS_BETWEEN_LOOKS)
                    studies.give_up_dead(self.study)
                    continue
                number = studies.run_one(self.study, self._try, (TrainingError, RecipeError, GivenBackError))
                made_here += 1
                self._settle(number, (time.monotonic() - started) / made_here)

    def table(self) -> list[Trial]:
        """Return the trials of all processes, in order."""
        return studies.trials_of(self.study, self.space)

    def recipe_of(self, trial: Trial) -> Recipe:
        """Return the recipe of a trial, complete."""
        return self.made.recipe if trial.is_default else self.made.recipe.replace(**trial.choices)

    def _is_time_up(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _try(self, trial: optuna.Trial) -> float:
        """Train with what a trial draws, and return its accuracy on validation."""
        is_default = bool(trial.user_attrs.get("default"))
        counted = sorted(studies.counted(self.study), key=lambda one: (not studies.is_default(one), one.number))
        place = [one.number for one in counted].index(trial.number)
        if place >= self.trials or (is_default and place > 0):
            raise GivenBackError
        recipe = draw(trial, self.space, self.made.recipe)
        if is_default:
            recipe = self._fitted(self.asked)
        folder = self.folder / f"trial-{trial.number}"
        trial.set_user_attr("host", socket.gethostname())
        trial.set_user_attr("folder", str(folder.resolve()))
        watch = _Watch(trial, self.made, recipe, None if is_default else self.deadline)
        try:
            with watched_by(watch), nullcontext() if is_default else announcements_to(lambda _line: None):
                run = train(self.samples, recipe, folder, score_test=False)
            if run.interrupted:
                raise KeyboardInterrupt
            end_run(folder)
            accuracy = self._tell(trial, run)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, TrainingError | RecipeError):
                trial.set_user_attr("error", str(error))
            watch.tell()
            raise
        self.runs[trial.number] = run
        return accuracy

    def _fitted(self, recipe: Recipe) -> Recipe:
        """Return the default recipe, whose training always ends with a model: in the time there is."""
        if self.deadline is None or recipe.optimization.time_limit is not None:
            return recipe
        return recipe.replace(time_limit=max(0.001, self.deadline - time.monotonic()))

    def _tell(self, trial: optuna.Trial, run: Run) -> float:
        """Keep what is known of a trial that is done, and return its accuracy."""
        outputs = read_outputs(run.folder, "valid")
        hits = outputs.logits.argmax(axis=1) == outputs.labels
        packed = packed_hits(hits)
        known: dict[str, Any] = {
            "right": int(hits.sum()),
            "n": len(hits),
            "log_loss": run.valid.log_loss.value,
            "epochs": run.record.epochs,
            "seconds": run.seconds["total"],
            **({"hits": packed} if len(packed) <= MOST_HITS else {}),
        }
        for name, value in known.items():
            trial.set_user_attr(name, value)
        return float(hits.mean())

    def _settle(self, number: int, seconds_each: float) -> None:
        """Keep the run of the best trial so far and that of the default, and write what is known."""
        trials = self.table()
        done = finished(trials)
        kept = {trial.number for trial in trials if trial.is_default} | {trial.number for trial in done[:1]}
        for one in self.runs.keys() - kept:
            shutil.rmtree(self.runs.pop(one).folder, ignore_errors=True)
        self.write(trials)
        mine = next((trial for trial in trials if trial.number == number), None)
        if mine is not None:
            announce(self._line(mine, done, seconds_each))

    def _line(self, trial: Trial, done: list[Trial], seconds_each: float) -> str:
        """Return a line for people about a trial that has just ended, and how far the search is."""
        over = sum(map(studies.is_over, studies.counted(self.study)))
        score = trial.reason if trial.accuracy is None else f"{trial.accuracy.value:.3f}"
        best = f", best {done[0].name} with {done[0].accuracy.value:.3f}" if done and done[0].accuracy else ""
        left = (self.trials - over) * seconds_each
        if self.deadline is not None:
            left = min(left, max(0.0, self.deadline - time.monotonic()))
        what = trial.name + (", the default" if trial.is_default else "")
        return (
            f"{what}: {trial.status}, {score} in {trial.seconds:.1f} s{best}; {over:,} of {self.trials:,} trials, "
            f"about {left:,.0f} s left"
        )

    def write(self, trials: list[Trial]) -> None:
        """Write the table of trials, and the recipe of the best one so far."""
        write_trials(self.folder, trials, tuple(self.space))
        for best in finished(trials)[:1]:
            write_text(self.folder / BEST_FILE, to_toml(self.recipe_of(best), self.samples.source))


class _Watch:
    """See each step and epoch of a trial; end it if time is up, or if it is clearly worse than others."""

    def __init__(self, trial: optuna.Trial, made: Ready, recipe: Recipe, deadline: float | None) -> None:
        self.trial, self.deadline = trial, deadline
        self.is_default = bool(trial.user_attrs.get("default"))
        self.epochs = recipe.optimization.epochs or made.recipe.optimization.epochs or 1
        self.n = len(made.data.split.valid)
        self.epoch, self.tenths, self.best = 0, 0, 0.0
        self.started = time.monotonic()

    def __call__(self, event: Step | Epoch) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise GivenBackError
        if not isinstance(event, Epoch):
            return
        self.epoch, self.best = event.epoch, max(self.best, event.valid_accuracy)
        tenths = TENTHS * event.epoch // self.epochs
        if self.tenths < tenths < TENTHS:  # at its end, there is nothing left to spare
            self.tenths = tenths
            self.trial.report(self.best, tenths)
            if not self.is_default and self.trial.should_prune():
                raise optuna.TrialPruned

    def tell(self) -> None:
        """Keep what is known of a trial that was not trained to the end."""
        known = {"epochs": self.epoch, "seconds": round(time.monotonic() - self.started, 3)}
        if self.epoch:
            known |= {"right": round(self.best * self.n), "n": self.n}
        with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process has taken it meanwhile
            for name, value in known.items():
                self.trial.set_user_attr(name, value)


def name_of_study(name: str, made: Ready, space: Space) -> str:
    """Return a name that is the same for all processes that search the same, on whatever machine.

    Args:
        name: of the set.
        made: the images, and the recipe that the search begins with.
        space: what is searched.
    """
    begun = begun_with(made, score_test=False)
    here = {"device": "auto", "workers": None, "data_root": None, "weights": None, "split": "70/15/15"}
    recipe = made.recipe.replace(correct_test=False, corrections=None).replace(**here)
    parts = (begun.source_key, begun.split_key, str(begun.weights), to_toml(recipe, ""), repr(dict(space)))
    return f"{name}-{hashlib.sha256('|'.join(parts).encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
