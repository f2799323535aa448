"""The verbs of the command line as Python functions: train, evaluate, predict, check."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from firstlight.choices import did_you_mean
from firstlight.data.check import CheckReport
from firstlight.data.check import check as check_samples
from firstlight.data.images import MAX_PIXELS
from firstlight.data.recipe import DataRecipe
from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.delivery.evaluate import Score, evaluate_model
from firstlight.delivery.figures import draw_run
from firstlight.errors import RecipeError, WrongTypeError
from firstlight.inference.predictor import TOP, Prediction, Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model
from firstlight.runs.folder import model_file
from firstlight.runtime.device import pick_device
from firstlight.training import train as training
from firstlight.training.recipe import HOMES, Recipe
from firstlight.training.run import Run

if TYPE_CHECKING:
    from os import PathLike

Data = Samples | str | Path | tuple[Any, Any]


def train(
    data: Data, recipe: Recipe | None = None, *, out: Path | str | None = None, score_test: bool = True, **choices: Any
) -> Run:
    """Train a classifier, score it once on the test split, save it, and draw the figures of the run.

    Args:
        data: from `load_data`, or anything that `load_data` takes.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.
        score_test: whether to score the test split at the end. A search over recipes leaves it locked.
        choices: single choices by their names on the command line, such as `model="mlp"` or `epochs=3`; they replace
            those of `recipe`.

    Raises:
        UserError: if the data or the recipe cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    if not isinstance(recipe, Recipe | None):
        raise WrongTypeError(f"recipe is a {type(recipe).__name__}; give a Recipe, or single choices such as epochs=3")
    for name in choices.keys() - HOMES.keys():
        raise RecipeError(f"there is no choice {name}{did_you_mean(name, [*HOMES, 'out', 'score_test'])}")
    recipe = (recipe or Recipe()).replace(**choices)
    run = training.train(_samples(data, recipe.data), recipe, out, score_test=score_test)
    if not run.interrupted:
        draw_run(run.folder)
    return run


def evaluate(
    model: Path | str | Run,
    data: Data,
    *,
    split: Literal["train", "valid", "test", "all"] = "test",
    device: str = "auto",
    allow_quarantine: bool = False,
) -> Score:
    """Score a model file on labeled images; classes are matched by name.

    Args:
        model: a `model.safetensors`, a run folder, or a run.
        data: from `load_data`, or anything that `load_data` takes.
        split: of the `split.csv` beside the model if it is of this set, else of the set's own split; or `all`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        allow_quarantine: go on even if more than 1 % of the images cannot be used.

    Returns:
        the evaluation, and how often the run's test split has been scored by now, if this was it.

    Raises:
        UserError: if the model file or the data cannot be used, or the classes do not match.
    """
    return evaluate_model(
        _model_file(model),
        _samples(data, DataRecipe()),
        split=split,
        device=pick_device(device),
        allow_quarantine=allow_quarantine,
    )


def predict(
    model: Classifier | Path | str | Run,
    images: "PathLike[str] | str | bytes | Sequence[Any] | Any",
    *,
    top: int = TOP,
    max_pixels: int = MAX_PIXELS,
) -> Prediction | list[Prediction]:
    """Classify an image, or several: one `Prediction` for one image, a list in their order for more.

    Args:
        model: from `load`, a run, its folder, or a `model.safetensors`. A file is loaded again by every call.
        images: the path of a file or a folder, the bytes of a file, a PIL image, an array `[H, W]`, `[H, W, C]` or
            `[N, H, W, C]`, a tensor `[C, H, W]` or `[N, C, H, W]`, or a list of these.
        top: how many classes to list, the most probable first.
        max_pixels: an image with more pixels is not decoded.

    Raises:
        TypeError: if `model` or `images` is anything else.
        UserError: if the model file cannot be used, or an array has values that no image has.
    """
    if isinstance(model, Run):
        model = model.model
    elif not isinstance(model, Classifier):
        model = load_model(_model_file(model))
    return Predictor(model, top=top, max_pixels=max_pixels)(images)


def check(data: Data, *, workers: int | None = None, max_pixels: int = MAX_PIXELS) -> CheckReport:
    """Decode every image of a set once, and return what is in it, what cannot be used, and which images are copies.

    Args:
        data: from `load_data`, or anything that `load_data` takes.
        workers: number of threads that decode images.
        max_pixels: an image with more pixels is quarantined without being decoded.

    Raises:
        UserError: if the data cannot be used.
    """
    return check_samples(_samples(data, DataRecipe()), workers, max_pixels)


def _model_file(model: Path | str | Run) -> Path:
    if not isinstance(model, Path | str | Run):
        raise WrongTypeError(
            f"model is a {type(model).__name__}; give a run, its folder, or the path of a model.safetensors"
        )
    return model_file(model.folder if isinstance(model, Run) else Path(model))


def _samples(data: Data, choices: DataRecipe) -> Samples:
    if isinstance(data, Samples):
        return data
    return load_data(
        data, data_root=choices.data_root, image_column=choices.image_column, label_column=choices.label_column
    )
