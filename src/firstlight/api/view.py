"""Show images: one with its probabilities, or a batch as training gets it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from firstlight.api.given import Data, Model, classifier_of, recipe_of, samples_of
from firstlight.delivery.view_classify import view_answer
from firstlight.errors import RecipeError
from firstlight.runtime.device import pick_device
from firstlight.training.choice import network_of
from firstlight.training.prepare import first_batch, prepare
from firstlight.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray


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
    answer: Any = model if classes is not None else classifier_of(model)
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

    recipe = recipe_of(recipe, choices)
    for name, value in (("count", count), ("epoch", epoch)):
        if type(value) is not int or value < 1:
            raise RecipeError("give a whole number from 1", field=name, value=value)
    samples = samples_of(data, recipe.data.source_choices())
    network = network_of(samples, recipe, device_type=pick_device(recipe.device).type)
    shown = first_batch(*prepare(samples, recipe, network), count, epoch)
    return image_grid(shown.images, shown.titles)
