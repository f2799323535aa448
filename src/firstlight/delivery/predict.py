"""Predictions of image files: which files a folder holds, and predictions as CSV."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from firstlight.errors import DataError
from firstlight.files import PLAIN_TEXT, atomic_path, begins_as, expand_user, open_csv
from firstlight.inference.inputs import find_files
from firstlight.inference.predictor import Prediction

__all__ = ["find_files", "written_to_csv"]

DOUBT_COLUMNS = ("unsure", "reason", "set", "strangeness")


def written_to_csv(predictions: Iterable[Prediction], path: Path, top: int = 1) -> Iterator[Prediction]:
    """Yield predictions as they come, and write one row for each; the file appears after the last one.

    The columns are `image,label,probability,error,unsure,reason,set,strangeness`, then `label_2,probability_2` and so
    on to `top`. The classes of a set are joined by `; `.

    Raises:
        DataError: if the file cannot be written.
    """
    places = range(1, top)
    with csv_for_people(path) as write_row:
        others = (name for place in places for name in (f"label_{place + 1}", f"probability_{place + 1}"))
        write_row(("image", "label", "probability", "error", *DOUBT_COLUMNS, *others))
        for prediction in predictions:
            rest = [(guess.label, guess.probability) for guess in prediction.top[1:top]]
            cells = [cell for pair in rest for cell in pair]
            blank = [None] * (2 * len(places) - len(cells))
            first = (prediction.image, prediction.label, prediction.probability, prediction.error)
            write_row((*first, *_doubt_cells(prediction), *cells, *blank))
            yield prediction


def _doubt_cells(prediction: Prediction) -> tuple[str | float | None, ...]:
    unsure = None if prediction.unsure is None else str(prediction.unsure).lower()
    possible = None if prediction.set is None else "; ".join(prediction.set)
    return unsure, prediction.reason, possible, prediction.strangeness


def _is_same(path: Path, other: Path) -> bool:
    with suppress(OSError):  # one of them does not exist
        return other.is_file() and path.samefile(other)
    return False


def require_file(path: Path, *given: Path | str | None) -> None:
    """Refuse a path that cannot become a table, or must not, before any work is done.

    Args:
        path: of the table.
        given: files that the command reads, which it must not replace.

    Raises:
        DataError: if it is something else, such as a picture or one of the files that are read.
    """
    path = expand_user(path)
    if any(read and _is_same(path, expand_user(read)) for read in given):
        raise DataError("the command reads this file; choose another for the table", field="csv", value=str(path))
    if not path.name or (path.exists() and not path.is_file()):
        raise DataError("it is not a file; choose a new file, or one to replace", field="csv", value=str(path))
    if not begins_as(path, PLAIN_TEXT):
        raise DataError("that is no table, so it is not replaced; choose a new file", field="csv", value=str(path))
    if not path.parent.is_dir():
        raise DataError("it cannot be written: there is no such folder; choose another", field="csv", value=str(path))


@contextmanager
def csv_for_people(path: Path) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Yield a function that writes one row of a table; the file appears once all are written.

    Raises:
        DataError: if the file cannot be written.
    """
    path = expand_user(path)
    require_file(path)
    try:
        with atomic_path(path) as temporary, open_csv(temporary) as write_row:
            yield write_row
    except OSError as error:
        reason = f"it cannot be written ({error.strerror}); choose another file"
        raise DataError(reason, field="csv", value=str(path)) from None
