"""Classify images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from firstlight.api.given import Model, classifier_of
from firstlight.delivery.engine import Wanted, engine_for
from firstlight.errors import RecipeError, require_type
from firstlight.files import expand_user
from firstlight.inference.doubt import Sets
from firstlight.inference.inputs import items_of
from firstlight.inference.predictor import TOP, Prediction, Predictions, Predictor
from firstlight.models.classifier import Classifier

if TYPE_CHECKING:
    from PIL.Image import Image

    from firstlight.integrations.ray_data.predict import Written


@overload
def predict(
    model: Model,
    images: "bytes | Image",
    *,
    top: int = ...,
    max_pixels: int | None = ...,
    accept: float | None = ...,
    sets: Sets = ...,
    engine: Wanted = ...,
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
    engine: Wanted = ...,
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
    engine: Literal["ray"],
    out: Path | str,
    address: str | None = ...,
    workers: int | None = ...,
) -> "Written": ...
@overload
def predict(
    model: Model,
    images: Any,
    *,
    top: int = ...,
    max_pixels: int | None = ...,
    accept: float | None = ...,
    sets: Sets = ...,
    engine: Wanted = ...,
) -> Any: ...
def predict(
    model: Model,
    images: Any,
    *,
    top: int = TOP,
    max_pixels: int | None = None,
    accept: float | None = None,
    sets: Sets = "overall",
    engine: Wanted | Literal["ray"] = "auto",
    out: Path | str | None = None,
    address: str | None = None,
    workers: int | None = None,
) -> "Prediction | Predictions | Written":
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
        engine: `torch`; `onnx`, which runs an export of the model in ONNX Runtime, made first if there is none; `auto`
            takes an export that is known already and was measured to be faster here, else PyTorch; `ray`, which uses
            many processes or machines for any number of files, writes the answers to `out`, and returns where they are
            and how many.
        out: with `ray`, the folder of Parquet files to write; of an earlier call's, only what is missing is computed.
        address: with `ray`, of a cluster whose machines all see these files; by default the processes run here.
        workers: with `ray`, number of processes; by default one for each processor.

    Raises:
        WrongTypeError: if `model` or `images` is anything else.
        UserError: if the model file cannot be used, an array has values that no image has, `accept` or `sets` is given
            for a model that cannot tell when it is unsure, `engine` is `onnx` and there can be no export, or it is
            `ray` and Ray is not installed or fails, or `out` holds something else.
    """
    classifier = classifier_of(model)
    if engine == "ray":
        if top != TOP:
            raise RecipeError("the engine ray writes one answer for each image; leave it out", field="top", value=top)
        return _with_ray(
            classifier, images, out, address, workers=workers, max_pixels=max_pixels, accept=accept, sets=sets
        )
    for name, value in (("out", out), ("address", address), ("workers", workers)):
        if value is not None:
            raise RecipeError("only the engine ray uses this; set `engine` to ray", field=name, value=str(value))
    count = len(images) if isinstance(images, list | tuple) else 1
    runs_it = engine_for(classifier, engine, images=count)
    predictor = Predictor(classifier, top=top, max_pixels=max_pixels, accept=accept, sets=sets, engine=runs_it)
    return predictor(images)


def _with_ray(
    classifier: Classifier, images: Any, out: Path | str | None, address: str | None, **choices: Any
) -> "Written":
    from firstlight.integrations.ray_data.predict import predict_to_parquet

    if out is None:
        raise RecipeError("the engine ray writes Parquet files; say where with `out`", field="engine", value="ray")
    require_type(out, Path | str, "out", "the path of a folder")
    items = items_of(images, classifier.white)
    return predict_to_parquet(classifier, items, expand_user(out), address=address, **choices)
