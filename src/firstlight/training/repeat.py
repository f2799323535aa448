"""Train recipes several times, with other seeds, on the same split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.errors import RecipeError, require_type
from firstlight.escaping import escape_name
from firstlight.files import expand_user
from firstlight.progress import announce, progress
from firstlight.runs.begun import end_run
from firstlight.runs.folder import RECIPE_FILE, SPLIT_FILE, make_run_folder
from firstlight.training.recipe import Recipe
from firstlight.training.recipe_file import from_toml
from firstlight.training.run import Run
from firstlight.training.train import train

MAX_SEEDS = 1000


def named_recipes(a: Any, b: Any, data: Any = None) -> tuple[dict[str, Recipe], Samples]:
    """Return two recipes by their names for people, and the set that both are trained on.

    Args:
        a: a `Recipe`, the path of a TOML file, or a run or its folder.
        b: likewise.
        data: a `Samples` or anything that `load_data` takes; by default the source that the files name.

    Raises:
        RecipeError: if a file cannot be read, the recipes read the source in different ways, or there is no source.
        DataError: if the data cannot be used.
    """
    (first, source_a), (second, source_b) = (_recipe_and_source(recipe) for recipe in (a, b))
    names = [_name(a, "a"), _name(b, "b")]
    if first.replace(seed=0) == second.replace(seed=0) or names[0] == names[1]:
        raise RecipeError(f"{names[0]} and {names[1]} are the same recipe; give two that differ")
    reading = first.data.source_choices()
    for name, value in second.data.source_choices().items():
        if value != reading[name]:
            raise RecipeError("the other recipe reads the source differently; make them equal", field=name, value=value)
    if isinstance(data, Samples):
        return dict(zip(names, (first, second), strict=True)), data
    source = source_a or source_b if data is None else data
    if source is None or (data is None and source_b and source_a not in (source_b, None)):
        known = " and ".join(escape_name(one) for one in (source_a, source_b) if one) or "none"
        raise RecipeError(f"the recipes name different sources or none ({known}); give the source to train both on")
    return dict(zip(names, (first, second), strict=True)), load_data(source, **reading)


def _name(given: Any, letter: str) -> str:
    return f"recipe {letter}" if isinstance(given, Recipe) else str(given.folder if isinstance(given, Run) else given)


def _recipe_and_source(given: Any) -> tuple[Recipe, str | None]:
    require_type(given, Recipe | Run | Path | str, "recipe", "a Recipe, the path of a recipe in TOML, or a run folder")
    if isinstance(given, Recipe):
        return given, None
    if isinstance(given, Run):
        return given.recipe, given.record.source
    path = expand_user(given)
    found = from_toml(path / RECIPE_FILE if path.is_dir() else path)
    return found.recipe, found.source


def train_with_seeds(
    samples: Samples, recipes: Mapping[str, Recipe], seeds: int, out: Path | None = None
) -> dict[str, list[Run]]:
    """Train each recipe with the seeds 0, 1, ... on the split of the first run; no test split is scored.

    Args:
        samples: from `load_data`.
        recipes: two, by their names for people; their run folders are `a-seed0`, `b-seed0`, `a-seed1` and so on.
        seeds: how often each is trained.
        out: the folder of the run folders, new or empty; by default `runs/compare-<n>`.

    Raises:
        UserError: if the data or a recipe cannot be used. Runs that are finished stay in the folder.
        KeyboardInterrupt: after Ctrl-C; likewise.
    """
    if not 2 <= seeds <= MAX_SEEDS:
        raise RecipeError(f"choose a whole number from 2 to {MAX_SEEDS:,}", field="seeds", value=seeds)
    folder = make_run_folder("compare", out)
    runs: dict[str, list[Run]] = {name: [] for name in recipes}
    table: Path | None = None
    with progress("training", seeds * len(recipes), "runs") as advance:
        for seed in range(seeds):  # in turn, so that an interruption leaves as many of each
            for letter, (name, recipe) in zip("ab", recipes.items(), strict=True):
                announce(f"{escape_name(name)}, seed {seed + 1} of {seeds}")
                split, out = {} if table is None else {"split": str(table)}, folder / f"{letter}-seed{seed}"
                run = train(
                    samples, recipe.replace(seed=seed, **split), folder / f"{letter}-seed{seed}", score_test=False
                )
                if run.interrupted:
                    raise KeyboardInterrupt
                end_run(run.folder)
                table = table or run.folder / SPLIT_FILE
                runs[name].append(run)
                advance()
    return runs
