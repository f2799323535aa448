"""The split: train, valid and test, by groups, so that no image and none of its copies stands on two sides.

Which side a group falls on depends on the seed and on its name alone, within its class: groups are put in the order of
a hash and cut at the wanted shares, test first, then valid, then train. Adding images therefore moves only the few
at the two cuts, and never one between train and test; with `--split FILE`, a former run's `split.csv`, none moves.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from firstlight.data.samples import Samples
from firstlight.errors import DataError, RecipeError
from firstlight.files import write_csv
from firstlight.runtime.seeds import derive_seed

TRAIN, VALID, TEST = range(3)
SPLIT_NAMES = ("train", "valid", "test")
DROPPED = 3
WORDS = (*SPLIT_NAMES, "dropped")  # of the table
HELD_OUT_FRACTION = 0.1  # taken from an official training set that lacks a validation (or test) split
MIXED = -1
FEWEST_GROUPS = 3  # with fewer, a class cannot stand in all three parts


@dataclass(frozen=True)
class Split:
    """The rows of each part, int64, ascending; a row may be in none (quarantined, or dropped as a leak)."""

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]

    @classmethod
    def of(cls, parts: NDArray[np.int8], rows: NDArray[np.int64]) -> "Split":
        """Build from the part of each row (0, 1, 2), keeping only `rows`."""
        return cls(*(rows[parts[rows] == part] for part in (TRAIN, VALID, TEST)))

    def part(self, name: str) -> NDArray[np.int64]:
        """The rows of `train`, `valid`, `test`, or of `all` three."""
        if name == "all":
            return np.sort(np.concatenate([self.train, self.valid, self.test]))
        rows: NDArray[np.int64] = getattr(self, name)
        return rows


def parse_fractions(text: str) -> tuple[float, float, float]:
    """Read `70/15/15`, in any unit, as shares that sum to one.

    Raises:
        RecipeError: if it is not three numbers, the first and the last two of them above zero.
    """
    try:
        numbers = [float(number) for number in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != len(SPLIT_NAMES) or min(numbers) <= 0 or not np.isfinite(numbers).all():
        raise RecipeError(
            f"--split {text}: give three numbers above zero for train/valid/test, such as 70/15/15, "
            f"or the split.csv of an earlier run"
        )
    train, valid, test = (number / sum(numbers) for number in numbers)
    return train, valid, test


def name_groups(names: Sequence[str], group_by: str) -> list[str]:
    """Give each image the group that its name tells.

    Args:
        names: the images' names.
        group_by: `folder` (the folder an image lies in), or a regular expression whose first group, or whole match,
            is the group's name; an image that it does not match is a group of its own.

    Raises:
        RecipeError: if the expression cannot be read or matches no image.
    """
    if group_by == "folder":
        return [str(PurePosixPath(name).parent) for name in names]
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise RecipeError(f"--group-by {group_by}: not a regular expression ({error}); or say: folder") from None
    matches = [pattern.search(name) for name in names]
    if not any(matches):
        raise RecipeError(f"--group-by {group_by}: matches no picture's name, such as {names[0]}")
    return ["" if not match else match.group(1 if pattern.groups else 0) or "" for match in matches]


def assign(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str],
    fractions: tuple[float, float, float],
    seed: int,
) -> NDArray[np.int8]:
    """Assign every row to a part: stratified by class, whole groups only.

    Args:
        labels: the class of each row, int64 `[N]`.
        groups: the group of each row, int64 `[N]`; rows of equal number stay together.
        names: the rows' names; a group goes by the first of its names.
        shares: of train, valid and test.
        seed: another seed gives another split.

    Returns:
        The part of each row, int8 `[N]`: 0 train, 1 valid, 2 test. A class of fewer than three groups is train only.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        members[group].append(row)
    class_of = labels.tolist()
    strata: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for rows in members.values():
        # note: groups of several classes, such as patients, are a stratum of their own
        stratum = class_of[rows[0]] if len({class_of[row] for row in rows}) == 1 else MIXED
        strata[stratum].append((derive_seed(seed, "split", min(names[row] for row in rows)), rows))
    parts = np.full(len(labels), TRAIN, np.int8)
    for drawn in strata.values():
        if len(drawn) < FEWEST_GROUPS:
            continue
        total = sum(len(rows) for _, rows in drawn)
        # note: groups of more than a third of a class come last, so that train keeps at least about a third of it
        waiting = sorted(drawn, key=lambda group: (3 * len(group[1]) > total, group))[::-1]
        for part in (TEST, VALID):
            quota = max(1, round(total * fractions[part])) if fractions[part] else 0
            chosen: list[int] = []
            while len(chosen) < quota and len(waiting) > part:  # a part's number: how many parts still wait for a group
                rows = waiting[-1][1]
                # note: half of a group may stand over the quota, so that shares are right on average
                if chosen and len(chosen) + len(rows) / 2 > quota:
                    break
                chosen += rows
                waiting.pop()
            parts[chosen] = part
    return parts


def complete_official(
    official: NDArray[np.int8],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str],
    seed: int,
) -> NDArray[np.int8]:
    """Keep an official split as it is; a validation or test part that it lacks comes out of its train part."""
    parts = official.copy()
    for part in (VALID, TEST):
        if (official == part).any():
            continue
        train = np.flatnonzero(parts == TRAIN)
        fractions = (1 - HELD_OUT_FRACTION, 0.0, HELD_OUT_FRACTION)
        drawn = assign(
            labels[train], groups[train], [names[row] for row in train.tolist()], fractions, derive_seed(seed, part)
        )
        parts[train[drawn == TEST]] = part
    return parts


def follow(
    manifest: dict[str, int], groups: NDArray[np.int64], names: Sequence[str], otherwise: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Keep every image where a former run had it; a new one goes with its copies, else where `otherwise` says."""
    parts = otherwise.copy()
    known = np.array([manifest.get(name, -1) for name in names], np.int8)
    of_group: dict[int, int] = {}
    for row in np.flatnonzero((known >= 0) & (known != DROPPED)):
        of_group[int(groups[row])] = max(of_group.get(int(groups[row]), TRAIN), int(known[row]))
    for row in np.flatnonzero(known < 0):
        parts[row] = of_group.get(int(groups[row]), int(parts[row]))
    return np.where(known >= 0, known, parts).astype(np.int8)


def find_leaks(groups: NDArray[np.int64], parts: NDArray[np.int8], rows: NDArray[np.int64]) -> list[list[int]]:
    """List the groups that stand in more than one part, each as its rows."""
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in zip(rows.tolist(), groups[rows].tolist(), strict=True):
        members[group].append(row)
    return [found for found in members.values() if len(found) > 1 and len(set(parts[found].tolist())) > 1]


def training_copies(leaks: list[list[int]], parts: NDArray[np.int8]) -> list[int]:
    """The rows to take out so that no leak is left: all but those in the most held-out part of each leak."""
    return [row for leak in leaks for row in leak if parts[row] < parts[leak].max()]


def write_split(path: Path, samples: Samples, split: Split, dropped: Sequence[int] = ()) -> None:
    """Write `image,label,split`, one row an image, in the order of the set; atomically.

    Args:
        path: the table, usually `split.csv`.
        samples: the set.
        split: which rows are in which part.
        dropped: rows that were taken out as leaks; the table says so, so that whoever follows it leaves them out too.
    """
    names, labels, classes = samples.names, samples.labels, samples.classes
    part_of = {int(row): part for part in SPLIT_NAMES for row in split.part(part)} | dict.fromkeys(dropped, "dropped")
    rows = ((names[row], classes[labels[row]], part_of[row]) for row in sorted(part_of))
    write_csv(path, [("image", "label", "split"), *rows])


def read_split(path: Path) -> dict[str, int]:
    """Read `split.csv` back: each image's name and its part, 0, 1 or 2, or 3 if it was dropped.

    Raises:
        DataError: if the file cannot be read or is not such a table.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            manifest = {row["image"]: WORDS.index(row["split"]) for row in csv.DictReader(file)}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the split.csv of an earlier run") from None
    except (KeyError, ValueError, csv.Error):
        manifest = {}
    if not manifest:
        raise DataError(f"{path}: not a split table; it needs the columns image, label, split, and a row a picture")
    return manifest
