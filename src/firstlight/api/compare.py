"""Compare two models on the same images, or two recipes with several seeds each."""

from pathlib import Path
from typing import Any, Literal

from firstlight.api.given import Data, Model, named, reading_of, run_folder_of, samples_of
from firstlight.data.recipe import SourceRecipe
from firstlight.delivery.compare import compare_models, compare_runs, compare_seeds
from firstlight.errors import require_type
from firstlight.evaluation.comparison import Comparison
from firstlight.evaluation.repeated import RecipeComparison
from firstlight.files import expand_user, write_json
from firstlight.runs.folder import COMPARISON_FILE
from firstlight.runtime.device import pick_device
from firstlight.training.recipe import Recipe
from firstlight.training.repeat import named_recipes, train_with_seeds
from firstlight.training.run import Run


def compare(
    a: Model,
    b: Model,
    data: Data | None = None,
    *,
    split: Literal["valid", "test", "all"] = "valid",
    device: str = "auto",
    allow_quarantine: bool = False,
    max_pixels: int | None = None,
    **choices: Any,
) -> Comparison:
    """Compare two models on the same images, with what is due to chance; differences are those of b minus a.

    Args:
        a: a run, its folder, a `model.safetensors`, or, with `data`, a classifier.
        b: likewise; both know the same classes.
        data: labeled images to score both on, as for `evaluate`. By default two runs are compared by what they said
            about their own split, which needs neither images nor models.
        split: which images. Comparing on `test` counts as one more evaluation of the test split of both runs.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; where both are scored on `data`.
        allow_quarantine: continue even if more than 1% of the images cannot be used.
        max_pixels: an image with more pixels is not decoded; by default the limit used in training.
        choices: how the source is read, as for `load_data`; by default as the run of `a` read it.

    Raises:
        UserError: if a run or model cannot be used, or they answered different images or know different classes.
    """
    if data is None:
        SourceRecipe.of_source(**choices)  # refuses what is no choice
        return compare_runs(run_folder_of(a, "a"), run_folder_of(b, "b"), split)
    models = dict(named(model, letter) for model, letter in ((a, "a"), (b, "b")))
    samples = samples_of(data, reading_of(next(iter(models.values())), choices))
    return compare_models(
        models,
        samples,
        split=split,
        device=pick_device(device),
        allow_quarantine=allow_quarantine,
        max_pixels=max_pixels,
    )


def compare_recipes(
    a: Recipe | Run | Path | str,
    b: Recipe | Run | Path | str,
    data: Data | None = None,
    *,
    seeds: int = 5,
    out: Path | str | None = None,
) -> RecipeComparison:
    """Train two recipes with several seeds each, and compare them on the validation split; the test split stays locked.

    All runs have the same split. The interval is for other seeds as well as for other images: one model of each says
    little about the recipes that made them.

    Args:
        a: a recipe, the path of one in TOML, or a run or its folder, whose recipe is taken. Its seed does not matter.
        b: likewise.
        data: from `load_data`, or anything that `load_data` takes; by default the source that the recipes name.
        seeds: how often each recipe is trained.
        out: the folder of the runs and of `comparison.json`, new or empty; by default `runs/compare-<n>`.

    Raises:
        UserError: if the data or a recipe cannot be used. Runs that are finished stay in the folder.
    """
    require_type(out, Path | str | None, "out", "the path of a new folder")
    require_type(seeds, int, "seeds", "a whole number")
    recipes, samples = named_recipes(a, b, data)
    runs = train_with_seeds(samples, recipes, seeds, None if out is None else expand_user(out))
    folders = {name: [run.folder for run in made] for name, made in runs.items()}
    found = compare_seeds(folders)
    write_json(folders[next(iter(folders))][0].parent / COMPARISON_FILE, found.to_json())
    return found
