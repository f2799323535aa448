"""Show where in an image a model finds evidence for a class."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from firstlight.api.given import Model, classifier_of
from firstlight.delivery.explain import explain_images, written
from firstlight.delivery.heatmap import Heatmap, Heatmaps
from firstlight.errors import require_type
from firstlight.inference.inputs import is_one_image, items_of

if TYPE_CHECKING:
    from PIL.Image import Image

Method = Literal["auto", "gradcam", "layercam", "attention", "occlusion"]


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
    classifier = classifier_of(model)
    items = items_of(images, classifier.white)
    found = explain_images(classifier, items, method=method, class_=class_, max_pixels=max_pixels)
    if out is not None:
        found = written(found, Path(out), dark=dark)
    return next(found) if is_one_image(images) else Heatmaps(found)
