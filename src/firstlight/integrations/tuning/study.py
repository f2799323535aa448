"""The study of Optuna behind a search, in memory or in a database that several processes and machines share."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from firstlight.errors import RecipeError
from firstlight.evaluation.intervals import proportion
from firstlight.integrations.tuning.space import OneOf, Space, of_drawn, rounded
from firstlight.integrations.tuning.trials import Status, Trial, unpacked_hits
from firstlight.runtime.seeds import derive_seed

RANDOM_TRIALS = 6  # before the search learns from earlier ones
COMPARED_FROM = 5  # tenths of a run; before, a high learning rate looks worse than it is
KEPT_PERCENT = 75.0  # of the trials; where most are as good, the median would stop half of them by chance
FEWEST_COMPARED = 4  # trials that a running one is compared with
HEARTBEAT_SECONDS = 15  # between two signs of life of a trial in a database
DEAD_SECONDS = 60  # without one; then the process is taken for killed, and its trial is taken again
LOCKED_SECONDS = 60  # that a file of SQLite may be locked by other processes


class SamplerByNumber(BaseSampler):
    """Draw values by the tree-structured Parzen estimator, each trial with a seed of its own.

    So a search that is continued draws what it would have drawn, and processes that search together draw other values.

    Source: J. Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sampler = self._of(0)

    def _of(self, number: int) -> TPESampler:
        seed = derive_seed(self._seed, "tune", number) % 2**32
        return TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS, constant_liar=True)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Take the seed of this trial."""
        self._sampler = self._of(trial.number)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return which values are drawn together."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values that are drawn together."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value that is drawn by itself."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Learn from a trial that is over."""
        self._sampler.after_trial(study, trial, state, values)


def open_study(storage: str | None, name: str, seed: int) -> optuna.Study:
    """Return the study of this name, which is made if there is none.

    Args:
        storage: the address of a database; None keeps it in memory.
        name: of the study.
        seed: of the draws.

    Raises:
        RecipeError: if the database cannot be used; the message does not show its password.
    """
    pruner = optuna.pruners.PercentilePruner(
        KEPT_PERCENT, n_startup_trials=FEWEST_COMPARED, n_warmup_steps=COMPARED_FROM, n_min_trials=FEWEST_COMPARED
    )
    kept = None if storage is None else _database(storage)
    try:
        return optuna.create_study(
            storage=kept,
            sampler=SamplerByNumber(seed),
            pruner=pruner,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
        )
    except optuna.exceptions.StorageInternalError as error:
        assert storage is not None
        raise cannot_be_used(storage, error) from None


def _database(storage: str) -> RDBStorage:
    from sqlalchemy.exc import SQLAlchemyError

    options = {"connect_args": {"timeout": LOCKED_SECONDS}} if storage.startswith("sqlite") else {"pool_pre_ping": True}
    try:
        return RDBStorage(
            storage,
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=DEAD_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
    except (SQLAlchemyError, ImportError, ValueError, RuntimeError, optuna.exceptions.OptunaError) as error:
        raise cannot_be_used(storage, error) from None


def cannot_be_used(storage: str, error: BaseException) -> RecipeError:
    """Return the error about a database, without its password."""
    shown = without_password(storage)
    cause = error
    while (inner := cause.__cause__ or getattr(cause, "orig", None)) is not None:
        cause = inner
    if isinstance(cause, ImportError):
        reason = f"this kind of database needs the package {cause.name or 'of its driver'}, which is not installed"
    else:
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        reason = f"this database cannot be used ({lines[0].replace(storage, shown)})"
    return RecipeError(f"{reason}; give an address such as sqlite:///search.db", field="storage", value=shown)


def without_password(storage: str) -> str:
    """Return the address of a database with *** in place of its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        scheme, separator, rest = storage.partition("://")
        return f"{scheme}://***{rest[rest.rindex('@') :]}" if separator and "@" in rest else storage


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Within the block, Optuna writes no log, and does not warn of what it calls experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count, in order: all but those of killed processes, and those that were given back."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state != TrialState.FAIL or "error" in trial.user_attrs]


def is_default(trial: FrozenTrial) -> bool:
    """Return whether a trial is the recipe that the search began with."""
    return bool(trial.user_attrs.get("default"))


def is_waiting(trial: FrozenTrial) -> bool:
    """Return whether a trial waits for a process to take it."""
    return trial.state == TrialState.WAITING


def is_over(trial: FrozenTrial) -> bool:
    """Return whether a trial has ended, in whatever way."""
    return trial.state.is_finished()


def run_one(
    study: optuna.Study, objective: Callable[[optuna.Trial], float], expected: tuple[type[Exception], ...]
) -> int:
    """Take one trial, a new one, or one that waits because its process was killed; return its number.

    Args:
        study: whose trial.
        objective: returns its value.
        expected: errors with which a trial fails, and the search goes on.
    """
    taken: list[int] = []
    is_ours = False  # an error is of the objective, and not of telling what became of a trial

    def noted(trial: optuna.Trial) -> float:
        nonlocal is_ours
        taken.append(trial.number)
        try:
            return objective(trial)
        except (optuna.TrialPruned, optuna.exceptions.UpdateFinishedTrialError):
            raise
        except BaseException:
            is_ours = True
            raise

    try:
        study.optimize(noted, n_trials=1, catch=expected)
    except ValueError:  # another process has taken this one for dead, as after a laptop has slept, and its trial
        if is_ours or not taken:
            raise
    return taken[0]


def give_up_dead(study: optuna.Study) -> None:
    """Let trials of killed processes wait to be taken again."""
    optuna.storages.fail_stale_trials(study)


def trials_of(study: optuna.Study, space: Space) -> list[Trial]:
    """Return the trials of a study that have begun, in order."""
    return [_trial(trial, space) for trial in counted(study) if trial.state != TrialState.WAITING]


def _trial(trial: FrozenTrial, space: Space) -> Trial:
    kept, n = trial.user_attrs, trial.user_attrs.get("n", 0)
    statuses: dict[TrialState, Status] = {
        TrialState.COMPLETE: "done", TrialState.PRUNED: "stopped early", TrialState.FAIL: "failed",
    }  # fmt: skip
    status = statuses.get(trial.state, "running")
    right = kept.get("right")
    return Trial(
        number=trial.number,
        status=status,
        accuracy=None if right is None or status in ("running", "failed") else proportion(right, n),
        log_loss=kept.get("log_loss") if status == "done" else None,
        epochs=kept.get("epochs", 0),
        seconds=kept.get("seconds", 0.0),
        choices={name: _value(value, space[name]) for name, value in trial.params.items() if name in space},
        is_default=is_default(trial),
        reason=kept.get("error", ""),
        host=kept.get("host", ""),
        folder=kept.get("folder", ""),
        hits=unpacked_hits(kept["hits"], n) if status == "done" and "hits" in kept else None,
    )


def _value(value: Any, drawn: Any) -> Any:
    return of_drawn(value, drawn) if isinstance(drawn, OneOf) else rounded(value)
