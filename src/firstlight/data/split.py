"""Split a set into train, valid, and test by groups, so that copies of an image are always in the same split.

The split of a group depends only on the seed and on its name, within its class: groups are sorted by a hash and cut at
the requested proportions, test first, then valid, then train. Adding images therefore moves only the few at the two
cuts, and never one between train and test. To move none, follow the `split.csv` of an earlier run.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.data.recipe import DataRecipe
from firstlight.data.samples import Samples, Split, number_names
from firstlight.errors import DataError, RecipeError, kind_of
from firstlight.files import from_cell, open_regular_text, write_csv
from firstlight.runtime.seeds import derive_seed

DROPPED = 3  # in the table: a training image that was left out because of a leak; its word is `dropped`
TABLE_WORDS = {split.word: int(split) for split in Split} | {"dropped": DROPPED}
DEFAULT_FRACTIONS = DataRecipe.split
HELD_OUT_FRACTION = 0.1  # of an official training set, for a validation or test split that it lacks
SEVERAL_CLASSES = -1  # stands in for the class of a group that has images of several


@dataclass(frozen=True)
class SplitRows:
    """The rows of each split, int64, ascending; a row may be in none (quarantined, or dropped as a leak)."""

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]

    @classmethod
    def of(cls, splits: NDArray[np.int8], rows: NDArray[np.int64]) -> "SplitRows":
        """Return the rows of each split.

        Args:
            splits: the `Split` of every row, int8 `[N]`.
            rows: the rows that are used, int64, ascending.
        """
        return cls(*(rows[splits[rows] == split] for split in Split))

    def rows(self, name: str) -> NDArray[np.int64]:
        """Return the rows of `train`, `valid`, `test`, or of `all` three, ascending."""
        if name == "all":
            return np.sort(np.concatenate([self.train, self.valid, self.test]))
        if name not in [split.word for split in Split]:
            raise RecipeError("choose train, valid, test or all", field="split", value=name)
        rows: NDArray[np.int64] = getattr(self, name)
        return rows


def split(
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    fractions: str = DEFAULT_FRACTIONS,
    seed: int = 0,
) -> SplitRows:
    """Return a split that is stratified by class and keeps groups together, as `train` makes it.

    Args:
        labels: the class of each image, `[N]` numbers or words.
        groups: the group of each image, `[N]` numbers or words; images of one group stay together. By default every
            image is a group of its own.
        names: the images' names, on which the split depends; by default `00000`, `00001`, ...
        fractions: proportions of train/valid/test in any unit.
        seed: another seed gives another split.

    Returns:
        The rows of each split. A class of fewer than three groups is in train only, so valid or test may be empty.

    Raises:
        DataError: if `labels`, `groups` and `names` have different lengths.
        RecipeError: if `fractions` cannot be read.

    >>> rows = split(["cat", "dog"] * 50, seed=1)
    >>> len(rows.train), len(rows.valid), len(rows.test)
    (68, 16, 16)
    """
    if np.ndim(labels) != 1:
        raise DataError(f"labels are {kind_of(labels)}; give one number or word for each image")
    classes = _numbered(labels)
    count = len(classes)
    group_numbers = np.arange(count) if groups is None else _numbered(groups)
    names = number_names(count) if names is None else names
    if not count == len(group_numbers) == len(names):
        raise DataError(
            f"{count:,} labels, {len(group_numbers):,} groups and {len(names):,} names; give one of each for each image"
        )
    splits = assign(classes, group_numbers, names, parse_fractions(fractions, field="fractions"), seed)
    return SplitRows.of(splits, np.arange(count))


def _numbered(values: Any) -> NDArray[np.int64]:
    """Return the rank of each value among the distinct ones."""
    return np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64)


def parse_fractions(text: str, *, field: str = "split") -> tuple[float, float, float]:
    """Return the proportions in a text such as `70/15/15`, in any unit, as fractions that sum to one.

    Args:
        text: three numbers with slashes between them.
        field: the choice to name in an error.

    Raises:
        RecipeError: if it is not three finite numbers, the first two above zero and the third not below.
    """
    try:
        numbers = [float(number) for number in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != len(Split) or min(numbers[:2]) <= 0 or numbers[2] < 0 or not np.isfinite(numbers).all():
        raise RecipeError(
            "give three numbers above zero for train/valid/test, such as 70/15/15"
            + (", or the split.csv of an earlier run" if field == "split" else "")
            + "; the third may be 0, for no test split",
            field=field,
            value=text,
        )
    train, valid, test = (number / sum(numbers) for number in numbers)
    return train, valid, test


def assign(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str],
    fractions: tuple[float, float, float],
    seed: int,
) -> NDArray[np.int8]:
    """Return a split for every row: stratified by class, whole groups only.

    Args:
        labels: the class of each row, int64 `[N]`.
        groups: the group of each row, int64 `[N]`; rows with equal numbers stay together.
        names: the rows' names; a group goes by the first of its names in alphabetical order.
        fractions: of train, valid and test.
        seed: another seed gives another split.

    Returns:
        The `Split` of each row, int8 `[N]`. A class of fewer groups than splits with a share is in train only.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        members[group].append(row)
    class_of = labels.tolist()
    strata: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for rows in members.values():
        # note: groups of several classes, such as patients, are a stratum of their own
        stratum = class_of[rows[0]] if len({class_of[row] for row in rows}) == 1 else SEVERAL_CLASSES
        strata[stratum].append((derive_seed(seed, "split", min(names[row] for row in rows)), rows))
    splits = np.full(len(labels), Split.TRAIN, np.int8)
    fewest = sum(fraction > 0 for fraction in fractions)  # groups, of a class that can be in every split
    for stratum_groups in strata.values():
        if len(stratum_groups) < fewest:
            continue
        total = sum(len(rows) for _, rows in stratum_groups)
        # note: groups of more than a third of a class come last, so that train keeps at least about a third of it
        waiting = sorted(stratum_groups, key=lambda group: (3 * len(group[1]) > total, group))[::-1]
        for held_out in (Split.TEST, Split.VALID):
            quota = max(1, round(total * fractions[held_out])) if fractions[held_out] else 0
            chosen: list[int] = []
            # note: a split's number is also the number of splits that still need a group
            while len(chosen) < quota and len(waiting) > held_out:
                rows = waiting[-1][1]
                # note: up to half of a group may exceed the quota, so that fractions are right on average
                if chosen and len(chosen) + len(rows) / 2 > quota:
                    break
                chosen += rows
                waiting.pop()
            splits[chosen] = held_out
    return splits


def complete_official(
    official: NDArray[np.int8],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str],
    seed: int,
) -> NDArray[np.int8]:
    """Return an official split unchanged, except that a validation or test split it lacks is taken from train."""
    splits = official.copy()
    for lacking in (Split.VALID, Split.TEST):
        if (official == lacking).any():
            continue
        train = np.flatnonzero(splits == Split.TRAIN)
        fractions = (1 - HELD_OUT_FRACTION, 0.0, HELD_OUT_FRACTION)
        train_names = [names[row] for row in train.tolist()]
        drawn = assign(labels[train], groups[train], train_names, fractions, derive_seed(seed, int(lacking)))
        splits[train[drawn == Split.TEST]] = lacking
    return splits


def follow(
    table: dict[str, int], groups: NDArray[np.int64], names: Sequence[str], otherwise: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Return every image's split from a table; an image that it lacks goes with its copies, else by `otherwise`.

    Args:
        table: from `read_split`.
        groups: the group of each row, int64 `[N]`.
        names: the rows' names.
        otherwise: the `Split` of each row for images that have no copy in the table, int8 `[N]`.

    Returns:
        int8 `[N]`, a `Split` or `DROPPED`.
    """
    splits = otherwise.copy()
    known = np.array([table.get(name, -1) for name in names], np.int8)
    of_group: dict[int, int] = {}
    for row in np.flatnonzero((known >= 0) & (known != DROPPED)):
        of_group[int(groups[row])] = max(of_group.get(int(groups[row]), int(Split.TRAIN)), int(known[row]))
    for row in np.flatnonzero(known < 0):
        splits[row] = of_group.get(int(groups[row]), int(splits[row]))
    return np.where(known >= 0, known, splits).astype(np.int8)


def find_leaks(groups: NDArray[np.int64], splits: NDArray[np.int8], rows: NDArray[np.int64]) -> list[list[int]]:
    """Return the groups that are in more than one split, each as its rows.

    Args:
        groups: the group of each row, int64 `[N]`.
        splits: the split of each row, int8 `[N]`.
        rows: the rows that are used, int64.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in zip(rows.tolist(), groups[rows].tolist(), strict=True):
        members[group].append(row)
    return [found for found in members.values() if len(found) > 1 and len(set(splits[found].tolist())) > 1]


def training_copies(leaks: list[list[int]], splits: NDArray[np.int8]) -> list[int]:
    """Return the rows to leave out so that nothing leaks: all of each leak except those in its most held-out split."""
    return [row for leak in leaks for row in leak if splits[row] < splits[leak].max()]


def write_split(path: Path, samples: Samples, rows: SplitRows, dropped: Sequence[int] = ()) -> None:
    """Write `image,label,split`, one row per image, in the order of the set; atomically.

    Args:
        path: the table, usually `split.csv`.
        samples: the set.
        rows: the rows of each split.
        dropped: rows that were left out as leaks; the table has them, so that whoever follows it leaves them out too.
    """
    names, labels, classes = samples.names, samples.labels, samples.classes
    word_of = {int(row): each.word for each in Split for row in rows.rows(each.word)} | dict.fromkeys(
        dropped, "dropped"
    )
    cells = ((names[row], classes[labels[row]], word_of[row]) for row in sorted(word_of))
    write_csv(path, [("image", "label", "split"), *cells])


def read_split(path: Path) -> dict[str, int]:
    """Return the table that `write_split` wrote: for each image's name its `Split`, or `DROPPED`.

    Raises:
        DataError: if the file cannot be read or is not such a table.
    """
    try:
        with open_regular_text(path, newline="") as file:
            table = {from_cell(row["image"]): TABLE_WORDS[row["split"]] for row in csv.DictReader(file)}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the split.csv of an earlier run") from None
    except (KeyError, ValueError, csv.Error):
        table = {}
    if not table:
        raise DataError(f"{path}: not a split table; it needs the columns image, label, split, and one row per picture")
    return table
