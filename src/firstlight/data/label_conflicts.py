"""Find pictures that are in two classes, one of which must be wrong."""

from collections.abc import Set
from dataclasses import dataclass

from firstlight.data.duplicates import Duplicates
from firstlight.data.samples import Samples


@dataclass(frozen=True)
class LabelConflicts:
    """Groups of copies with more than one label, as rows.

    Attributes:
        exact: the same picture in two classes or more; an error in the labels.
        near: near copies in two classes or more; probably an error too, unless the pictures only look alike.
    """

    exact: list[list[int]]
    near: list[list[int]]


def label_conflicts(samples: Samples, duplicates: Duplicates, without: Set[int] = frozenset()) -> LabelConflicts:
    """Return the copies that have several labels. Near copies are left out if their exact copies are listed.

    Args:
        samples: the set.
        duplicates: its copies.
        without: rows that are not used.
    """

    def differ(group: list[int]) -> bool:
        return len({int(samples.labels[row]) for row in group if row not in without}) > 1

    exact = [group for group in duplicates.exact if differ(group)]
    told = {row for group in exact for row in group}
    return LabelConflicts(exact, [group for group in duplicates.near if differ(group) and told.isdisjoint(group)])


def with_labels(samples: Samples, groups: list[list[int]]) -> tuple[tuple[dict[str, str], ...], ...]:
    """Return each group as the names of its images, each with its label."""
    return tuple(
        tuple({"image": samples.names[row], "label": samples.classes[samples.labels[row]]} for row in group)
        for group in groups
    )
