"""Labeled images in any Python object, recognized by its methods without importing any library."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from firstlight.data.image_sources import ArrayImages, JoinedImages
from firstlight.data.in_memory import is_image
from firstlight.data.samples import Samples, Split
from firstlight.data.sources.arrays import from_arrays
from firstlight.data.sources.datasets import from_hugging_face, from_items, is_hugging_face
from firstlight.data.sources.frames import from_frame, is_frame
from firstlight.data.sources.split_words import is_split_word, split_of
from firstlight.errors import DataError, WrongTypeError, kind_of
from firstlight.escaping import escape_name

TAKEN = (
    "give a folder, an archive, a list, the name of a set, a pair (images, labels) or (paths, labels), a data frame, a "
    "torch or Hugging Face data set, or a dict of these by split"
)


def from_object(
    given: Any,
    load: Callable[[Any], Samples],
    *,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Samples:
    """Return labeled images that Python holds as a set.

    Args:
        given: what `TAKEN` says.
        load: reads each part of a dict by split, which may also be the path of a folder or a list.
        image_column: the name of the column of images in a table, if it has an unusual one.
        label_column: the name of the column of labels, likewise.

    Raises:
        DataError: if it holds something that cannot be used.
        WrongTypeError: if it is anything else.
    """
    columns = {"image_column": image_column, "label_column": label_column}
    if isinstance(given, Samples):
        return given
    if isinstance(given, Mapping) and given and all(_is_split(name) for name in given):
        return _joined({name: load(part) for name, part in given.items()})
    if is_hugging_face(given):
        return from_hugging_face(given, **columns)
    if is_frame(given):
        return from_frame(given, **columns)
    if isinstance(given, list | tuple):
        return _from_sequence(given, columns)
    _refuse_what_has_no_items(given)
    return from_items(given, **columns)


def _from_sequence(given: Sequence[Any], columns: Mapping[str, str | None]) -> Samples:
    """Return a pair (images, labels), a list of pairs or of dicts, or Keras' ((images, labels), (images, labels))."""
    are_pairs = all(isinstance(one, tuple | list) and len(one) == 2 for one in given)
    if given and all(isinstance(one, Mapping) for one in given):
        return from_items(given, **columns)
    if len(given) == 2 and are_pairs:
        if all(getattr(part[0], "ndim", 0) > 2 and _is_list_like(part[1]) for part in given):
            return _joined({"train": from_arrays(*given[0]), "test": from_arrays(*given[1])})
        if isinstance(given, list) and all(isinstance(one, tuple) for one in given):
            return from_items(given)
        return from_arrays(*given)
    if len(given) == 2 and getattr(given[0], "ndim", 0) == 2 and getattr(given[1], "ndim", 0) == 1:
        raise DataError(
            f"the pictures are {kind_of(given[0])}; reshape them with reshape(-1, height, width), or give "
            "one picture as [1, H, W]"
        )
    are_paths = isinstance(given, list) and all(isinstance(one, str | os.PathLike) for one in given)
    if len(given) == 2 and not are_paths and _are_labels(given[1], beside=given[0]):
        return from_arrays(*given)
    if given and are_pairs:
        return from_items(given)
    if not given:
        raise DataError("there are no pictures in an empty list")
    by_split = ", or a dict of such pairs by split" if len(given) == 4 else ""
    raise WrongTypeError(
        f"a {type(given).__name__} of {len(given):,} has no labels for its pictures; "
        f"give the pair (images, labels){by_split}"
    )


def _joined(parts: Mapping[str, Samples]) -> Samples:
    """Return several sets as one that is split; classes are matched by name."""
    seen: dict[Split, str] = {}
    for name in parts:
        split = split_of(name)
        assert split is not None, name
        if (other := seen.setdefault(split, name)) != name:
            raise DataError(f"{other} and {name} are the same split; give one of them")
        if parts[name].splits is not None:
            raise DataError(f"{escape_name(parts[name].source)} has splits of its own; give {name} only one of them")
    sets, words = list(parts.values()), list(seen)
    classes = max((part.classes for part in sets), key=len)
    if any(set(part.classes) - set(classes) for part in sets):
        classes = tuple(sorted({name for part in sets for name in part.classes}))
    position = {name: number for number, name in enumerate(classes)}
    labels = [np.array([position[name] for name in part.classes], np.int64)[part.labels] for part in sets]
    stacks = [part.images.images for part in sets if isinstance(part.images, ArrayImages)]
    is_stack = len(stacks) == len(sets) and len({stack.shape[1:] for stack in stacks}) == 1
    sources = {part.source: f"{word}={part.source}" for word, part in parts.items()}
    has_groups = any(part.groups is not None for part in sets)
    return replace(
        sets[0],
        name=sets[0].name if len({part.name for part in sets}) == 1 else "splits",
        source=sets[0].source if len(sources) == 1 else ", ".join(sources.values()),
        images=ArrayImages(np.concatenate(stacks)) if is_stack else JoinedImages([part.images for part in sets]),
        names=tuple(f"{word.word}/{name}" for word, part in zip(words, sets, strict=True) for name in part.names),
        labels=np.concatenate(labels),
        classes=classes,
        splits=np.repeat(np.array(words, np.int8), [len(part) for part in sets]),
        groups=tuple(group for part in sets for group in part.groups or part.names) if has_groups else None,
        notes=tuple(dict.fromkeys(note for part in sets for note in part.notes)),
    )


def _refuse_what_has_no_items(given: Any) -> None:
    """Refuse what cannot return image `i`, and say what to give instead."""
    name, module = type(given).__name__, type(given).__module__.partition(".")[0]
    if is_image(given) or isinstance(given, np.ndarray) or hasattr(given, "detach"):
        raise WrongTypeError(f"{kind_of(given)} has no labels; give a pair (images, labels)")
    if name == "DataLoader":
        raise WrongTypeError("a DataLoader gives batches; give its data set, `loader.dataset`")
    if name == "LazyFrame":
        raise WrongTypeError("a LazyFrame has no rows yet; give frame.collect()")
    if name == "IterableDataset" and module == "datasets":
        raise WrongTypeError("a streamed data set cannot be read in any order; load it without streaming=True")
    if hasattr(given, "__iter__") and not isinstance(given, type) and _gives_no_item(given):
        raise WrongTypeError(
            f"{escape_name(kind_of(given))} can be read only in order; give a list of them, such as "
            "list(...), or a data set that has __getitem__ and __len__"
        )
    if not (hasattr(given, "__getitem__") and hasattr(given, "__len__")) or isinstance(given, bytes | type):
        raise WrongTypeError(f"{escape_name(kind_of(given))} is not a set of labeled pictures; {TAKEN}")
    try:
        len(given)
    except TypeError:
        raise WrongTypeError(f"{kind_of(given)} has no length; give a data set that has one") from None


def _gives_no_item(given: Any) -> bool:
    """Return whether something that can be iterated over cannot be asked for item `i`, as torch's `IterableDataset`."""
    names = [kind.__name__ for kind in type(given).__mro__]
    return "IterableDataset" in names or not hasattr(given, "__getitem__")


def _is_split(name: Any) -> bool:
    return isinstance(name, str) and is_split_word(name)


def _are_labels(given: Any, beside: Any) -> bool:
    """Return whether the second of two may be the labels of the first; otherwise both are images."""
    if isinstance(given, np.ndarray) or hasattr(given, "detach"):
        return given.ndim < 3 and getattr(beside, "ndim", 0) != 2
    return not is_image(given)


def _is_list_like(labels: Any) -> bool:
    return hasattr(labels, "__len__") and not isinstance(labels, str | bytes)
