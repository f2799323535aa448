"""Find pairs of classes that are hard to tell apart: many images of each look like the other, beyond chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.escaping import escape_name
from firstlight.evaluation.intervals import proportion

MIXED_UP_ABOVE = 0.25  # of each class: the lower end of the interval of what looks like the other class


@dataclass(frozen=True)
class MixedUp:
    """Two classes that are hard to tell apart: their names, how many of each look like the other, and of how many."""

    classes: tuple[str, str]
    taken: tuple[int, int]
    of: tuple[int, int]

    def sentence(self, where: str = "") -> str:
        """Return a sentence for people; `where` says what the pictures are from, such as `in validation, `."""
        (one, other), (first, second), (of_first, of_second) = map(escape_name, self.classes), self.taken, self.of
        return (
            f"{one} and {other} are hard to tell apart: {where}{first:,} of {of_first:,} and {second:,} of "
            f"{of_second:,} look like the other"
        )


def mixed_up_classes(
    logits: NDArray[np.floating], labels: NDArray[np.int64], classes: Sequence[str]
) -> tuple[MixedUp, ...]:
    """Return the pairs of classes of which at least a quarter of each look like the other, beyond chance; worst first.

    Args:
        logits: of heads that saw neither the image nor a copy of it, `[n, K]`.
        labels: int64 `[n]`.
        classes: the K names.
    """
    num_classes = logits.shape[1]
    sizes = np.bincount(labels, minlength=num_classes)
    # note: `beats[a, b]` is how many images of class a look more like class b
    beats = np.zeros((num_classes, num_classes), np.int64)
    for one in range(num_classes):
        its = logits[labels == one]
        beats[one] = (its > its[:, [one]]).sum(axis=0)
    found = []
    for one, other in zip(*np.nonzero(np.triu(beats, 1)), strict=True):
        taken, of = (int(beats[one, other]), int(beats[other, one])), (int(sizes[one]), int(sizes[other]))
        if all(whole and proportion(part, whole).low > MIXED_UP_ABOVE for part, whole in zip(taken, of, strict=True)):
            found.append(MixedUp((classes[one], classes[other]), taken, of))
    return tuple(sorted(found, key=lambda pair: -sum(pair.taken) / sum(pair.of)))
