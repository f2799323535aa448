"""An image beside the probabilities of its classes, as a figure, from whatever holds the image."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike
from PIL import Image

from firstlight.data.in_memory import image_content
from firstlight.data.isolation import decode_safely
from firstlight.errors import ImageError, UserError, WrongTypeError
from firstlight.escaping import escape_name
from firstlight.inference.inputs import is_one_image
from firstlight.inference.predictor import Prediction, Predictor
from firstlight.models.classifier import Classifier
from firstlight.white import TYPES_WHITE, White

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def view_answer(
    image: Any,
    answer: Classifier | ArrayLike,
    classes: Sequence[str] | None,
    *,
    label: int | str | None = None,
    top: int = 10,
    axes: "tuple[Axes, Axes] | None" = None,
) -> "tuple[Axes, Axes]":
    """Show an image beside the probabilities of its classes; see `firstlight.view_classify`.

    Raises:
        ImageError: if the image cannot be used.
        UserError: if probabilities come without classes, or do not match them.
        WrongTypeError: if it is not one image.
    """
    from firstlight.delivery import plots

    title = None
    if isinstance(answer, Classifier):
        if not is_one_image(image):
            raise WrongTypeError("view_classify shows one image; give a single path, array, tensor or PIL image")
        predictor = Predictor(answer)
        probabilities: ArrayLike = predictor.probabilities(image)[0]
        prediction = predictor.predict(image)
        if isinstance(prediction, Prediction) and prediction.unsure:
            title = f"unsure: {prediction.reason}"
        classes = answer.classes
    elif classes is None:
        raise UserError("probabilities need class names; give `classes`, or a model instead of probabilities")
    else:
        probabilities = answer
    return plots.image_with_probabilities(
        _shown(image, answer.white if isinstance(answer, Classifier) else TYPES_WHITE),
        probabilities,
        classes,
        top,
        label,
        title=title,
        axes=axes,
    )


def _shown(image: Any, white: White) -> Any:
    """Return an image as `imshow` takes it: files are decoded, everything else is unchanged."""
    if not isinstance(image, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        return image
    try:
        content = image_content(image)
        return decode_safely(content, white=white).pixels if isinstance(content, bytes) else content
    except ImageError as error:
        name = f"{escape_name(os.fsdecode(image))}: " if isinstance(image, str | os.PathLike) else ""
        raise ImageError(f"{name}{error}") from None
