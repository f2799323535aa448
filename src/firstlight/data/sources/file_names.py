"""Read classes from file names, as in `cat.001.jpg`, by a regular expression."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from firstlight.data.samples import Split
from firstlight.data.sources.layout import Layout, refuse_classes_that_train_lacks
from firstlight.data.sources.left_out import left_out, note, refuse_no_images
from firstlight.data.sources.listing import FolderListing
from firstlight.data.sources.split_folders import tops_as_splits
from firstlight.errors import RecipeError
from firstlight.escaping import escape_name


def read_file_names(found: FolderListing, where: str, label_from: str) -> Layout:
    """Return each image's class, read from its file name, and its split if all first folders are named as splits.

    Args:
        found: the names.
        where: the source, for messages.
        label_from: a regular expression; see `_labels`.

    Raises:
        DataError: if there are no images, or train lacks a class.
        RecipeError: if the expression matches no name.
    """
    refuse_no_images(found, where)
    names = sorted(found.images)
    labels = list(_labels(names, label_from, where))
    kept = [(name, word) for name, word in zip(names, labels, strict=True) if word]
    without = [name for name, word in zip(names, labels, strict=True) if not word]
    tops = [name.partition("/")[0] if "/" in name else "" for name, _ in kept]
    by_top = tops_as_splits({*tops})
    # note: an expression about the path may find that the first folder, whatever its name, is the class
    splits = [by_top[top] for top in tops] if by_top and not {*tops} & {*labels} else None
    if splits is not None:
        classes: dict[Split, set[str]] = {}
        for (_, word), split in zip(kept, splits, strict=True):
            classes.setdefault(split, set()).add(word)
        refuse_classes_that_train_lacks(classes, where)
    return Layout(
        tuple(name for name, _ in kept),
        tuple(word for _, word in kept),
        None if splits is None else np.array(splits, np.int8),
        (*note(without, "picture", "whose name gives no class"), *left_out(found)),
    )


def _labels(names: Sequence[str], label_from: str, where: str) -> Iterator[str]:
    """Yield each image's class, the first group of a match in its file name; empty where it does not match.

    Args:
        names: paths with forward slashes.
        label_from: a regular expression; it is searched for in the whole path if there is a slash in it. Without a
            group, all that it matches is the class.
        where: the source, for messages.

    Raises:
        RecipeError: if it matches no name.
    """
    pattern = re.compile(label_from)
    matched = False
    for name in names:
        found = pattern.search(name if "/" in label_from else name.rpartition("/")[2])
        word = (found[1 if pattern.groups else 0] or "") if found else ""
        matched = matched or bool(word)
        yield word
    if not matched:
        example = escape_name(names[0]) if names else "none"
        reason = f"no class was found in the names of the pictures in {where}, such as {example}; change the expression"
        raise RecipeError(reason, field="label_from", value=label_from)
