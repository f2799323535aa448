"""Predictions of image files: which files a folder holds, and predictions as CSV."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from firstlight.errors import DataError
from firstlight.files import atomic_path, expand_user, open_csv
from firstlight.inference.inputs import find_files
from firstlight.inference.predictor import Prediction

__all__ = ["find_files", "written_to_csv"]


def written_to_csv(predictions: Iterable[Prediction], path: Path) -> Iterator[Prediction]:
    """Yield predictions as they come, and write one row for each; the file appears after the last one.

    Raises:
        DataError: if the file cannot be written.
    """
    path = expand_user(path)
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
