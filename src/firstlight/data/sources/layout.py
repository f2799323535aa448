"""`Layout`: the class and the split of each image, as the names of its folders or of its file give them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.data.samples import Split
from firstlight.errors import DataError
from firstlight.escaping import list_names


@dataclass(frozen=True)
class Layout:
    """Each image's class and split, as the names of folders or files give them.

    Attributes:
        names: the images that belong to a class, sorted.
        words: the class name of each.
        splits: int8 `[N]`, or None where there are no split folders.
        notes: what was left out, and what is unusual.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    splits: NDArray[np.int8] | None
    notes: tuple[str, ...]


def refuse_classes_that_train_lacks(classes: dict[Split, set[str]], where: str) -> None:
    """Refuse classes that could be tested but never learned.

    Raises:
        DataError: if there is a training split, and it lacks a class of another one.
    """
    if Split.TRAIN not in classes:
        return
    train = classes[Split.TRAIN]
    for split in (Split.VALID, Split.TEST):
        if lacking := sorted(classes.get(split, set()) - train):
            only_train = sorted(train - classes[split])
            raise DataError(
                f"{where}: only the {split.word} split has {list_names(lacking)}"
                + (f", and only the train split has {list_names(only_train)}" if only_train else "")
                + "; a model can learn only what it is trained on: rename the class, or add it to train"
            )
