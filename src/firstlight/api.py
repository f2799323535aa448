"""The commands as Python functions, and functions that load and show models and runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from firstlight.choices import did_you_mean
from firstlight.data.dataset import Dataset
from firstlight.data.images import MAX_PIXELS
from firstlight.data.recipe import SourceRecipe
from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.delivery.check import CheckReport
from firstlight.delivery.check import check as check_samples
from firstlight.delivery.compare import compare_models, compare_runs, compare_seeds
from firstlight.delivery.evaluate import Score, evaluate_model
from firstlight.delivery.explain import explain_images, written
from firstlight.delivery.figures import draw_run
from firstlight.delivery.heatmap import Heatmap, Heatmaps
from firstlight.delivery.report.write import write_model_report, write_run_report
from firstlight.delivery.view_classify import view_answer
from firstlight.errors import RecipeError, WrongTypeError, require_type
from firstlight.evaluation.comparison import Comparison
from firstlight.evaluation.repeated import RecipeComparison
from firstlight.files import expand_user, write_json
from firstlight.inference.doubt import Sets
from firstlight.inference.image_classifier import ImageClassifier
from firstlight.inference.inputs import is_one_image, items_of
from firstlight.inference.predictor import TOP, Prediction, Predictions, Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model
from firstlight.progress import announce
from firstlight.runs.folder import COMPARISON_FILE, MODEL_FILE, model_file
from firstlight.runtime.device import pick_device
from firstlight.training import run as runs
from firstlight.training import train as training
from firstlight.training.choice import network_of
from firstlight.training.label_check import check_labels
from firstlight.training.prepare import first_batch, prepare
from firstlight.training.recipe import HOMES, Recipe
from firstlight.training.recipe_file import source_choices_of
from firstlight.training.repeat import named_recipes, train_with_seeds
from firstlight.training.run import Run

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray
    from PIL.Image import Image

Data = Any  # a Samples, or anything that `load_data` takes
Model = Classifier | Path | str | Run
Method = Literal["auto", "gradcam", "layercam", "attention", "occlusion"]


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
    recipe = _recipe(recipe, choices)
    require_type(out, Path | str | None, "out", "the path of a new folder")
    require_type(score_test, bool, "score_test", "True or False")
    run = training.train(_samples(data, recipe.data.source_choices()), recipe, out, score_test=score_test)
    if not run.interrupted:
        draw_run(run.folder)
        write_run_report(run.folder)
    return run


def evaluate(
    model: Classifier | Path | str | Run,
    data: Data,
    *,
    split: Literal["train", "valid", "test", "all"] = "test",
    device: str = "auto",
    allow_quarantine: bool = False,
    max_pixels: int | None = None,
    **choices: Any,
) -> Score:
    """Score a model on labeled images; classes are matched by name.

    Args:
        model: a run, its folder, a `model.safetensors`, or a classifier.
        data: from `load_data`, or anything that `load_data` takes.
        split: of the `split.csv` beside the model if it is of this set, else of the set's own split; or `all`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        allow_quarantine: continue even if more than 1% of the images cannot be used.
        max_pixels: an image with more pixels is not decoded; by default the limit used in training.
        choices: how the source is read, as for `load_data`; by default as the model's run read it.

    Returns:
        the evaluation, and how often the run's test split has been scored so far, if this was it.

    Raises:
        UserError: if the model file or the data cannot be used, or the classes do not match.
    """
    given = SourceRecipe.of_source(**choices).chosen()
    file = model.file if isinstance(model, Classifier) else _model_file(model)
    as_in_run = source_choices_of(file.parent) if file else {}
    samples = _samples(data, as_in_run | given)
    if isinstance(data, str | Path):
        if (pattern := as_in_run.get("label_from")) and "label_from" not in given:
            announce(f"classes are taken from the file names, as in the run: `label_from` '{pattern}'")
        for note in samples.notes:
            announce(f"note: {note}")
    return evaluate_model(
        model if isinstance(model, Classifier) else _model_file(model),
        samples,
        split=split,
        device=pick_device(device),
        allow_quarantine=allow_quarantine,
        max_pixels=max_pixels,
    )


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
    given = SourceRecipe.of_source(**choices).chosen()
    if data is None:
        return compare_runs(_run_folder(a, "a"), _run_folder(b, "b"), split)
    named = dict(_named(model, letter) for model, letter in ((a, "a"), (b, "b")))
    first = next(iter(named.values()))
    file = first.file if isinstance(first, Classifier) else first
    samples = _samples(data, (source_choices_of(file.parent) if file else {}) | given)
    return compare_models(
        named,
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


@overload
def predict(
    model: Model,
    images: "bytes | Image",
    *,
    top: int = ...,
    max_pixels: int | None = ...,
    accept: float | None = ...,
    sets: Sets = ...,
) -> Prediction: ...
@overload
def predict(
    model: Model,
    images: "list[Any] | tuple[Any, ...]",
    *,
    top: int = ...,
    max_pixels: int | None = ...,
    accept: float | None = ...,
    sets: Sets = ...,
) -> Predictions: ...
@overload
def predict(
    model: Model,
    images: Any,
    *,
    top: int = ...,
    max_pixels: int | None = ...,
    accept: float | None = ...,
    sets: Sets = ...,
) -> Any: ...
def predict(
    model: Model,
    images: Any,
    *,
    top: int = TOP,
    max_pixels: int | None = None,
    accept: float | None = None,
    sets: Sets = "overall",
) -> Prediction | Predictions:
    """Classify an image, or several: one `Prediction` for one image, `Predictions` in their order for more.

    Args:
        model: from `load`, a run, its folder, or a `model.safetensors`. A file is loaded again by every call.
        images: the path of a file or a folder, the bytes of a file, a PIL image, an array `[H, W]`, `[H, W, C]`,
            `[N, H, W]` or `[N, H, W, C]`, a tensor `[C, H, W]` or `[N, C, H, W]`, or a list of these.
        top: how many classes to list, the most probable first.
        max_pixels: an image with more pixels is not decoded; by default the limit used in training.
        accept: an answer is unsure if its probability is below this, 0 to 1; by default, if its set of classes, which
            holds the right one in nine of ten cases, holds more than one.
        sets: what nine of ten is true of: `overall`, of all images; `by-class`, of the images of every class.

    Raises:
        WrongTypeError: if `model` or `images` is anything else.
        UserError: if the model file cannot be used, an array has values that no image has, or `accept` or `sets` is
            given for a model that cannot tell when it is unsure.
    """
    return Predictor(_classifier(model), top=top, max_pixels=max_pixels, accept=accept, sets=sets)(images)


@overload
def explain(
    model: Model,
    images: "bytes | Image",
    *,
    method: Method = ...,
    class_: int | str | None = ...,
    out: Path | str | None = ...,
    dark: bool = ...,
    max_pixels: int | None = ...,
) -> Heatmap: ...
@overload
def explain(
    model: Model,
    images: "list[Any] | tuple[Any, ...]",
    *,
    method: Method = ...,
    class_: int | str | None = ...,
    out: Path | str | None = ...,
    dark: bool = ...,
    max_pixels: int | None = ...,
) -> Heatmaps: ...
@overload
def explain(
    model: Model,
    images: Any,
    *,
    method: Method = ...,
    class_: int | str | None = ...,
    out: Path | str | None = ...,
    dark: bool = ...,
    max_pixels: int | None = ...,
) -> Any: ...
def explain(
    model: Model,
    images: Any,
    *,
    method: Method = "auto",
    class_: int | str | None = None,
    out: Path | str | None = None,
    dark: bool = False,
    max_pixels: int | None = None,
) -> Heatmap | Heatmaps:
    """Show where in an image, or in several, a model finds evidence for a class.

    A heatmap shows where, not what or why. It does not prove that the answer is right, or that the model would give
    another one without what it marks: only `method="occlusion"` tries that, by covering parts of the picture.

    Args:
        model: from `load`, a run, its folder, or a `model.safetensors`. A file is loaded again by every call.
        images: what `predict` takes.
        method: `gradcam` or `layercam`, for convolutional networks; `attention`, for vision transformers;
            `occlusion`, for any network, but about 200 times slower; `auto` takes what suits the network.
        class_: the class that the heatmaps are for, by name or number; by default the most probable of each image.
        out: a folder where each heatmap is also written as `<name>.heatmap.png`; no file of yours is replaced.
        dark: whether these files are for dark pages.
        max_pixels: an image with more pixels is not decoded; by default the limit used in training.

    Raises:
        WrongTypeError: if `model` or `images` is anything else.
        UserError: if the model file cannot be used, there is no such class or method, or the network does not allow
            the method.
    """
    require_type(out, Path | str | None, "out", "the path of a folder")
    classifier = _classifier(model)
    items = items_of(images, classifier.white)
    found = explain_images(classifier, items, method=method, class_=class_, max_pixels=max_pixels)
    if out is not None:
        found = written(found, Path(out), dark=dark)
    return next(found) if is_one_image(images) else Heatmaps(found)


def check(
    data: Data,
    *,
    labels: bool = False,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    device: str = "auto",
    **choices: Any,
) -> CheckReport:
    """Decode every image of a set once, and return what is in it, what cannot be used, and which images are copies.

    Args:
        data: from `load_data`, or anything that `load_data` takes.
        labels: whether to look for labels that are probably wrong as well, which takes about as long as training.
        workers: number of threads that decode images.
        max_pixels: an image with more pixels is quarantined without being decoded.
        device: that labels are judged on: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        choices: how the source is read, as for `load_data`.

    Raises:
        UserError: if the data cannot be used.
    """
    require_type(labels, bool, "labels", "True or False")
    found = check_samples(_samples(data, SourceRecipe.of_source(**choices).source_choices()), workers, max_pixels)
    if not labels:
        return found
    recipe = Recipe.of(device=device, workers=workers, max_pixels=max_pixels)
    return replace(found, labels=check_labels(found.samples, recipe))


def report(
    model: Classifier | Path | str | Run,
    data: Data | None = None,
    *,
    out: Path | str | None = None,
    split: Literal["train", "valid", "test", "all"] = "test",
    device: str = "auto",
    allow_quarantine: bool = False,
    max_pixels: int | None = None,
    **choices: Any,
) -> Path:
    """Write the report of a run, or of a model on labeled images, and return its path: one HTML file.

    Args:
        model: a run or its folder; with `data`, also a `model.safetensors` or a classifier.
        data: score the model on these; from `load_data`, or anything that `load_data` takes. By default the report is
            about the run, and is made from its folder alone.
        out: the file; by default `report.html` in the run folder, or `<name of the set>-report.html` here.
        split: as for `evaluate`, as are `device`, `allow_quarantine`, `max_pixels` and `choices`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        allow_quarantine: continue even if more than 1% of the images cannot be used.
        max_pixels: an image with more pixels is not decoded.
        choices: how the source is read, as for `load_data`.

    Raises:
        UserError: if there is no run, or the model or the data cannot be used.
    """
    require_type(out, Path | str | None, "out", "the path of a file")
    path = expand_user(out) if out is not None else None
    if data is None:
        require_type(model, Path | str | Run, "model", "a run or its folder; with data, also a model")
        assert not isinstance(model, Classifier)
        folder = model.folder if isinstance(model, Run) else expand_user(model)
        return write_run_report(folder.parent if folder.name == MODEL_FILE else folder, path)
    given = SourceRecipe.of_source(**choices).chosen()
    found = model if isinstance(model, Classifier) else _model_file(model)
    as_in_run = source_choices_of(found.parent) if isinstance(found, Path) else {}
    return write_model_report(
        found,
        _samples(data, as_in_run | given),
        path,
        split=split,
        device=pick_device(device),
        allow_quarantine=allow_quarantine,
        max_pixels=max_pixels,
    )


def load(model: Path | str | Run, device: "torch.device | str" = "cpu") -> ImageClassifier:
    """Return the model of a run, in evaluation mode.

    Args:
        model: a `model.safetensors`, a run folder, or a run.
        device: where it will be.

    Raises:
        ModelFileError: if the file is missing, damaged, from a newer firstlight, or not one of our model files.
        WrongTypeError: if it is something else.
    """
    from torch import device as TorchDevice  # noqa: N812

    found = device if isinstance(device, TorchDevice) else pick_device(device)
    return ImageClassifier.of(load_model(_model_file(model), found))


def load_run(folder: Path | str, data: Data | None = None) -> Run:
    """Return a finished run, as `train` returned it, from its folder alone.

    Args:
        folder: the run folder, or the model file in it.
        data: what the run was trained on. It is needed only for `run.data`, and only if it is no longer where it was,
            or was given to `train` as arrays or other things in memory.

    Raises:
        RunError: if the folder holds no run, a file in it is damaged, or the data are not those of the run.
    """
    require_type(folder, Path | str, "folder", "the path of a run folder")
    return runs.load_run(folder, None if data is None else _samples(data, source_choices_of(expand_user(folder))))


def view_classify(
    image: Any,
    model: "Model | ArrayLike",
    classes: Sequence[str] | None = None,
    *,
    label: int | str | None = None,
    top: int = 10,
    axes: "tuple[Axes, Axes] | None" = None,
) -> "tuple[Axes, Axes]":
    """Show an image beside the probabilities of its classes, the highest on top, and return the two Axes.

    Above a new figure stands why the model is unsure, if it is.

    Args:
        image: a path, the bytes of a file, a PIL image, an array or a tensor.
        model: from `load`, a run, its folder, or a `model.safetensors`; or, with `classes`, the probabilities `[K]`.
        classes: the K names, if probabilities are given.
        label: the true class, by position or name, if it is known; its bar is always shown, and outlined.
        top: how many classes get a bar of their own; the others share one.
        axes: where to draw; a new figure if None.

    Raises:
        ImageError: if the image cannot be used.
        UserError: if the model file cannot be used, or `label` is no class.
    """
    answer: Any = model if classes is not None else _classifier(model)
    return view_answer(image, answer, classes, label=label, top=top, axes=axes)


def show_batch(
    data: Data, recipe: Recipe | None = None, *, count: int = 16, epoch: int = 1, **choices: Any
) -> "NDArray[Any]":
    """Show training images as gradient descent gets them: resized, augmented, each with its label.

    They are the first of an epoch, exactly as training will see them. For networks whose head is solved for, this is
    what fine-tuning sees.

    Args:
        data: from `load_data`, or anything that `load_data` takes.
        recipe: every choice; by default those of `Recipe()`.
        count: how many images; a batch may hold fewer.
        epoch: from 1; every epoch changes the images differently.
        choices: single choices that replace those of `recipe`, such as `rotate=15`.

    Returns:
        the Axes of the images, object `[count]`.

    Raises:
        UserError: if the data or the recipe cannot be used.
    """
    from firstlight.delivery.plots import image_grid

    recipe = _recipe(recipe, choices)
    for name, value in (("count", count), ("epoch", epoch)):
        if type(value) is not int or value < 1:
            raise RecipeError("give a whole number from 1", field=name, value=value)
    samples = _samples(data, recipe.data.source_choices())
    network = network_of(samples, recipe, device_type=pick_device(recipe.device).type)
    shown = first_batch(*prepare(samples, recipe, network), count, epoch)
    return image_grid(shown.images, shown.titles)


def _recipe(recipe: Any, choices: Mapping[str, Any]) -> Recipe:
    """Return a recipe with single choices in place of its own."""
    require_type(recipe, Recipe | None, "recipe", "a Recipe, or single choices such as epochs=3")
    for name in choices.keys() - HOMES.keys():
        raise RecipeError(f"there is no choice {name}{did_you_mean(name, [*HOMES, 'out', 'score_test'])}")
    return (recipe or Recipe()).replace(**choices)


def _classifier(model: Any) -> Classifier:
    if isinstance(model, Classifier):
        return model
    return model.model if isinstance(model, Run) else load_model(_model_file(model))


def _model_file(model: Any) -> Path:
    wanted = "a run, its folder, the path of a model.safetensors, or what load returns"
    require_type(model, Path | str | Run, "model", wanted)
    return model_file(model.folder if isinstance(model, Run) else Path(model))


def _named(model: Any, letter: str) -> tuple[str, Classifier | Path]:
    """Return a model with its name for people."""
    if isinstance(model, Classifier):
        return f"model {letter}", model
    file = _model_file(model)
    return str(model.folder if isinstance(model, Run) else model), file


def _run_folder(run: Any, name: str) -> Path:
    require_type(run, Path | str | Run, name, "a run or its folder; to compare anything else, give `data` as well")
    return run.folder if isinstance(run, Run) else expand_user(run)


def _samples(data: Data, choices: Mapping[str, Any]) -> Samples:
    if isinstance(data, Samples):
        return data
    if isinstance(data, Dataset):
        raise WrongTypeError("data is a Dataset, which is packed and split already; give its `samples`")
    return load_data(data, **choices)
