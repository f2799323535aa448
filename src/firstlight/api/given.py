"""Read what a function was given: a model, a data set, or a recipe in any of its forms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from firstlight.choices import did_you_mean
from firstlight.data.dataset import Dataset
from firstlight.data.recipe import SourceRecipe
from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.errors import RecipeError, WrongTypeError, require_type
from firstlight.files import expand_user
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model
from firstlight.runs.folder import model_file
from firstlight.training.recipe import HOMES, Recipe
from firstlight.training.recipe_file import source_choices_of
from firstlight.training.run import Run

Data = Any  # a Samples, or anything that `load_data` takes
Model = Classifier | Path | str | Run


def recipe_of(recipe: Any, choices: Mapping[str, Any]) -> Recipe:
    """Return a recipe with single choices in place of its own."""
    require_type(recipe, Recipe | None, "recipe", "a Recipe, or single choices such as epochs=3")
    for name in choices.keys() - HOMES.keys():
        raise RecipeError(f"there is no choice {name}{did_you_mean(name, [*HOMES, 'out', 'score_test'])}")
    return (recipe or Recipe()).replace(**choices)


def classifier_of(model: Any) -> Classifier:
    """Return the classifier of a model, loaded if it is a file."""
    if isinstance(model, Classifier):
        return model
    return model.model if isinstance(model, Run) else load_model(model_file_of(model))


def model_file_of(model: Any) -> Path:
    """Return the model file of a run, its folder, or a path."""
    wanted = "a run, its folder, the path of a model.safetensors, or what load returns"
    require_type(model, Path | str | Run, "model", wanted)
    return model_file(model.folder if isinstance(model, Run) else Path(model))


def named(model: Any, letter: str) -> tuple[str, Classifier | Path]:
    """Return a model with its name for people."""
    if isinstance(model, Classifier):
        return f"model {letter}", model
    file = model_file_of(model)
    return str(model.folder if isinstance(model, Run) else model), file


def run_folder_of(run: Any, name: str) -> Path:
    """Return the folder of a run; `name` is that of the argument, for the message if it is none."""
    require_type(run, Path | str | Run, name, "a run or its folder; to compare anything else, give `data` as well")
    return run.folder if isinstance(run, Run) else expand_user(run)


def samples_of(data: Data, choices: Mapping[str, Any]) -> Samples:
    """Return the labeled images, loaded with these choices if they are not yet."""
    if isinstance(data, Samples):
        return data
    if isinstance(data, Dataset):
        raise WrongTypeError("data is a Dataset, which is packed and split already; give its `samples`")
    return load_data(data, **choices)


def reading_of(model: Classifier | Path, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a source is read for a model: as its run read it, if it has one, with single choices instead.

    Raises:
        UserError: if a choice is not one about reading a source.
    """
    given = SourceRecipe.of_source(**choices).chosen()
    file = model.file if isinstance(model, Classifier) else model
    return (source_choices_of(file.parent) if file else {}) | given
