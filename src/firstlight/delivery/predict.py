"""Predictions of image files: which files a folder holds, predictions as CSV, and one prediction as a figure."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from firstlight.data.images import decode
from firstlight.errors import DataError, ImageError
from firstlight.files import atomic_path, open_csv
from firstlight.inference.inputs import find_files
from firstlight.inference.predictor import Prediction, Predictor
from firstlight.models.classifier import Classifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["find_files", "view_classify", "written_to_csv"]


def written_to_csv(predictions: Iterable[Prediction], path: Path) -> Iterator[Prediction]:
    """Yield predictions as they come, and write one row for each; the file appears after the last one.

    Raises:
        DataError: if the file cannot be written.
    """
    if not path.name or (path.exists() and not path.is_file()):
        raise DataError("it is not a file; name a new one, or one to be replaced", field="csv", value=str(path))
    try:
        with atomic_path(path) as temporary, open_csv(temporary) as write_row:
            write_row(("image", "label", "probability", "error"))
            for prediction in predictions:
                write_row((prediction.image, prediction.label, prediction.probability, prediction.error))
                yield prediction
    except OSError as error:
        reason = f"it cannot be written ({error.strerror}); name another file"
        raise DataError(reason, field="csv", value=str(path)) from None


def view_classify(
    image: str | Path, model: Classifier, *, label: int | str | None = None, top: int = 10
) -> "tuple[Axes, Axes]":
    """Show an image file beside the probabilities that a model assigns to its classes; see `plots.view_classify`.

    Args:
        image: the path of a file.
        model: from `load`, or of a run.
        label: the true class, by position or name, if it is known.
        top: how many classes to show.

    Raises:
        ImageError: if the file cannot be used.
    """
    from firstlight.delivery import plots

    try:
        data = Path(image).read_bytes()
        original = decode(data, name=str(image)).pixels
    except (ImageError, OSError) as error:
        raise ImageError(f"{image}: {error}") from None
    prediction = next(Predictor(model, top=len(model.classes)).predict_files([str(image)]))
    if prediction.error is not None:
        raise ImageError(f"{image}: {prediction.error}")
    probability = {guess.label: guess.probability for guess in prediction.top}
    return plots.view_classify(
        np.asarray(original), [probability[name] for name in model.classes], model.classes, top=top, label=label
    )
