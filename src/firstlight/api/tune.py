"""Search for a better recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firstlight.api.given import Data, recipe_of, samples_of
from firstlight.errors import RecipeError, UserError, require_type
from firstlight.files import expand_user
from firstlight.integrations.tuning.found import Search
from firstlight.training.recipe import Recipe

TRIALS = 20
MAX_TRIALS, MAX_SECONDS = 100_000, 1e9


def tune(
    data: Data,
    recipe: Recipe | None = None,
    *,
    trials: int = TRIALS,
    time_limit: float | None = None,
    storage: str | None = None,
    search: Sequence[str] = (),
    keep: Sequence[str] = (),
    out: Path | str | None = None,
    **choices: Any,
) -> Search:
    """Search for a better recipe: train variations of one, compare them on validation, and score the best one once.

    The first trial is the recipe itself, the default. All trials have one split, and no test split is scored but that
    of the winner, once, at the end. Its score on validation is too high, since that decided which trial won; the result
    says by how much, and whether the winner is better than the default beyond chance.

    Args:
        data: from `load_data`, or anything that `load_data` takes.
        recipe: where the search begins; by default `Recipe()`. Its choices may be searched.
        trials: how many, in all processes that search together.
        time_limit: seconds for the whole search. A trial that is open when they are over does not count; the default
            is trained in the time there is. A limit for each trial is one of `recipe`.
        storage: the address of a database, such as `sqlite:///search.db`, with which several processes search
            together, and a search can be continued. By default, it is kept in memory.
        search: names of the choices to search, such as `lr`; by default a few that depend on the network.
        keep: names of choices not to search, besides `choices`.
        out: the folder of the search, new or empty; by default `runs/<name>-tune-<n>`.
        choices: single choices by their names on the command line, which are not searched.

    Raises:
        UserError: if the data, a choice or the database cannot be used, no trial succeeded, or the extra `tune` is not
            installed.
    """
    require_type(out, Path | str | None, "out", "the path of a new folder")
    require_type(storage, str | None, "storage", "the address of a database, such as sqlite:///search.db")
    for name, names in (("search", search), ("keep", keep)):
        if isinstance(names, str) or not all(isinstance(one, str) for one in names):
            raise RecipeError('give a list of names, such as ["lr"]', field=name, value=names)
    if type(trials) is not int or not 1 <= trials <= MAX_TRIALS:
        raise RecipeError(f"choose a whole number from 1 to {MAX_TRIALS:,}", field="trials", value=trials)
    if time_limit is not None and (type(time_limit) not in (int, float) or not 0 < time_limit <= MAX_SECONDS):
        raise RecipeError("give seconds, above 0", field="time_limit", value=time_limit)
    try:
        from firstlight.integrations.tuning.tune import search_recipes
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("optuna", "sqlalchemy"):
            raise
        raise UserError("searching needs Optuna, which is not installed; pip install 'firstlight[tune]'") from None
    asked = recipe_of(recipe, choices)
    return search_recipes(
        samples_of(data, asked.data.source_choices()),
        asked,
        trials=trials,
        time_limit=time_limit,
        storage=storage,
        only=search,
        keep=(*keep, *choices),
        out=None if out is None else expand_user(out),
    )
