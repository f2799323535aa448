"""Data sets of torch, torchvision, and Hugging Face: anything that returns image `i` with its label."""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from firstlight.data.image_sources import FileImages, ObjectImages
from firstlight.data.in_memory import image_content
from firstlight.data.samples import Samples, number_names
from firstlight.data.sources.arrays import labeled, read_labels_for
from firstlight.data.sources.columns import find_columns
from firstlight.data.sources.labels import cells_of
from firstlight.errors import DataError, ImageError, WrongTypeError, kind_of
from firstlight.escaping import escape_name
from firstlight.progress import progress

UNTRANSFORMED = "the transforms of the data set were left out: training resizes, normalizes and changes pictures itself"


def is_hugging_face(given: Any) -> bool:
    """Return whether this is a Hugging Face data set, judging by its methods."""
    return all(hasattr(given, name) for name in ("features", "column_names", "cast_column", "__getitem__", "__len__"))


def from_hugging_face(data: Any, *, image_column: str | None = None, label_column: str | None = None) -> Samples:
    """Return a Hugging Face data set as a set; its pictures are read from their files when they are needed.

    Args:
        data: with a column of images, and one of labels.
        image_column: the name of the column of images, if it is not the only one of this kind.
        label_column: likewise of the labels.

    Raises:
        DataError: if there are no such columns, or a label is missing.
    """
    where = "data set"
    kinds = {name: getattr(feature, "_type", type(feature).__name__) for name, feature in data.features.items()}
    columns = find_columns(
        list(kinds),
        where,
        image_column=image_column or _only(kinds, "Image"),
        label_column=label_column or _only(kinds, "ClassLabel"),
    )
    data = data.with_format(None)
    if kinds[columns.image] == "Image":
        undecoded = copy.copy(data.features[columns.image])
        undecoded.decode = False
        data = data.cast_column(columns.image, undecoded)
    numbers = data[columns.label][:]
    names = getattr(data.features[columns.label], "names", None)
    notes = list(columns.notes)
    if names is not None:  # of a ClassLabel, which writes -1 where it knows none
        rows = np.flatnonzero([number is not None and number >= 0 for number in numbers])
        if not len(rows):
            raise DataError(f"{where}: no picture has a label, as in the test split of a contest; leave this split out")
        if len(rows) < len(numbers):
            left_out = len(numbers) - len(rows)
            notes.append(f"{left_out:,} picture{'s' * (left_out > 1)} without a label left out")
            data, numbers = data.select(rows), [numbers[row] for row in rows]
    images = ObjectImages(lambda row: data[row][columns.image], len(numbers))
    labels = read_labels_for(numbers, len(numbers), where, names)
    return labeled("data-set", images, tuple(number_names(len(numbers))), labels, notes=tuple(notes))


def from_items(data: Any, *, image_column: str | None = None, label_column: str | None = None) -> Samples:
    """Return a data set that gives `(image, label)`, or a dict of both, for each number from 0 to its length.

    Every item is read once for its label. Data sets of torchvision are read without their transforms.

    Args:
        data: a map-style data set of torch, or any sequence of pairs. With `classes`, whole numbers stand for these.
        image_column: the key of the image where items are dicts, if it has an unusual name.
        label_column: likewise of the label.

    Raises:
        DataError: if an item is something else, or cannot be read.
    """
    where = f"{type(data).__name__}"
    data, rows, classes, notes = _plain(data)
    if not len(rows):
        raise DataError(f"{where}: there are no pictures in it")
    if (files := _image_folder(data)) is not None:
        root, pairs = files
        chosen = [pairs[row] for row in rows]
        names = tuple(_relative(path, root) for path, _ in chosen)
        labels = read_labels_for([label for _, label in chosen], len(chosen), where, classes)
        return labeled(root.name or "data-set", FileImages(root, names), names, labels, notes=notes)
    first = _item(data, rows[0], where)
    part, taken = _parts_of(first, where, image_column, label_column)
    _refuse_pixels_of_unknown_layout(taken(first), where)
    words = []
    with progress("reading labels", len(rows)) as advance:
        for row in rows:
            words.append(_label_of(data, row, part, where))
            advance()
    labels = read_labels_for(words, len(rows), where, classes)
    images = ObjectImages(lambda index: taken(data[rows[index]]), len(rows))
    return labeled("data-set", images, tuple(number_names(len(rows))), labels, notes=notes)


def _plain(data: Any) -> tuple[Any, Sequence[int], Sequence[str] | None, tuple[str, ...]]:
    """Return a data set without its transforms, the rows of it that are meant, its classes, and notes."""
    rows: Sequence[int] = range(len(data))
    while hasattr(data, "dataset") and hasattr(data, "indices"):  # torch's Subset, also of a Subset
        rows = [int(data.indices[row]) for row in rows]
        data = data.dataset
    data, had_transforms = _untransformed(data)
    return data, rows, _classes_of(data), (UNTRANSFORMED,) if had_transforms else ()


def _untransformed(data: Any) -> tuple[Any, bool]:
    """Return a data set whose parts of torchvision have no transforms any more, and whether any had one."""
    parts = getattr(data, "datasets", None)
    if isinstance(parts, list) and hasattr(data, "cumulative_sizes"):  # torch's ConcatDataset
        data = copy.copy(data)
        found = [_untransformed(part) for part in parts]
        data.datasets = [part for part, _ in found]
        return data, any(had_transforms for _, had_transforms in found)
    if hasattr(data, "dataset") and hasattr(data, "indices"):  # torch's Subset
        data = copy.copy(data)
        data.dataset, had_transforms = _untransformed(data.dataset)
        return data, had_transforms
    if not any(kind.__module__.startswith("torchvision.datasets") for kind in type(data).__mro__):
        return data, False
    data = copy.copy(data)
    steps = [name for name in ("transform", "target_transform", "transforms") if getattr(data, name, None) is not None]
    for name in steps:
        setattr(data, name, None)
    return data, bool(steps)


def _classes_of(data: Any) -> Sequence[str] | None:
    """Return the names that a data set has for its numbers; of several together, those that all of them have."""
    parts = getattr(data, "datasets", None)
    if isinstance(parts, list) and parts and hasattr(data, "cumulative_sizes"):
        first, *others = map(_classes_of, parts)
        return first if all(other == first for other in others) else None
    classes = getattr(getattr(data, "dataset", data) if hasattr(data, "indices") else data, "classes", None)
    if isinstance(classes, str) or not (isinstance(classes, Sequence) and all(isinstance(one, str) for one in classes)):
        return None
    return classes


def _image_folder(data: Any) -> tuple[Path, list[tuple[str, int]]] | None:
    """Return the root, the files and the labels of a torchvision `ImageFolder`; None of anything else."""
    is_folder = any(
        (kind.__module__, kind.__name__) == ("torchvision.datasets.folder", "ImageFolder")
        for kind in type(data).__mro__
    )
    return (Path(data.root).absolute(), list(data.samples)) if is_folder else None


def _relative(path: str, root: Path) -> str:
    absolute = Path(path).absolute()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)


def _item(data: Any, row: int, where: str) -> Any:
    try:
        return data[row]
    except Exception as error:  # a data set is anybody's code
        words = escape_name(" ".join(str(error).split()))
        raise DataError(
            f"{where}: item {row} cannot be read ({type(error).__name__}{words and ': '}{words}); fix it or leave it "
            "out"
        ) from error


def _parts_of(
    item: Any, where: str, image_column: str | None, label_column: str | None
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return how to get the label and the image from an item, judging by one of them."""
    if isinstance(item, Mapping):
        columns = find_columns(
            [str(name) for name in item], where, image_column=image_column, label_column=label_column
        )
        return (lambda found: found[columns.label]), (lambda found: found[columns.image])
    if isinstance(item, tuple | list) and len(item) >= 2:
        return (lambda found: found[1]), (lambda found: found[0])
    raise DataError(f"{where}: its items are {kind_of(item)}; each must be a pair (image, label), or a dict with both")


def _refuse_pixels_of_unknown_layout(image: Any, where: str) -> None:
    """Refuse what is not an image, or an array that cannot be read, since all the others will be like it."""
    try:
        image_content(image)
    except WrongTypeError as error:
        raise WrongTypeError(f"{where}: {error}") from None
    except ImageError as error:
        if hasattr(image, "ndim"):
            raise DataError(f"{where}: a picture cannot be read: {error}") from None


def _label_of(data: Any, row: int, part: Callable[[Any], Any], where: str) -> Any:
    """Return the label of an item, also of one whose image cannot be read if the data set lists labels apart."""
    try:
        return part(_item(data, row, where))
    except DataError:
        for name in ("targets", "labels", "_labels"):
            listed: Any = getattr(data, name, None)
            if hasattr(listed, "__len__") and len(listed) == len(data):
                return cells_of(listed)[row]
        raise
    except (KeyError, IndexError, TypeError):
        raise DataError(f"{where}: item {row} is not a pair (image, label) like those before it") from None


def _only(kinds: Mapping[str, str], wanted: str) -> str | None:
    """Return the one column of this kind; None if there are more or none, so that names decide."""
    found = [name for name, kind in kinds.items() if kind == wanted]
    return found[0] if len(found) == 1 else None
