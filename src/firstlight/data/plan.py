"""Plan the split of a set: which rows go where, notes about it, and why training would refuse it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firstlight.data.groups import image_groups
from firstlight.data.recipe import DataRecipe
from firstlight.data.samples import Samples, Split
from firstlight.data.split import (
    DEFAULT_FRACTIONS,
    SplitRows,
    assign,
    complete_official,
    find_leaks,
    follow,
    parse_fractions,
    read_split,
    training_copies,
)
from firstlight.data.store import Store
from firstlight.errors import DataError
from firstlight.escaping import escape_name, list_names
from firstlight.files import expand_user

MAX_QUARANTINED_FRACTION = 0.01  # of the images; with more, a run stops unless `allow_quarantine` is set
SPLIT_NAMES = {Split.TRAIN: "train", Split.VALID: "validation", Split.TEST: "test"}  # for people


@dataclass(frozen=True)
class SplitPlan:
    """How a packed set would be split, and why training would refuse it.

    Attributes:
        rows: the rows of train, valid and test.
        leaks: groups of images in more than one split, as rows.
        dropped: rows that are left out because of leaks.
        notes: what a person should know about the split.
        refusals: why training would refuse the set, the most basic reason first; empty if it would not.
    """

    rows: SplitRows
    leaks: list[list[int]]
    dropped: list[int]
    notes: tuple[str, ...]
    refusals: tuple[str, ...]


def plan_split(samples: Samples, store: Store, recipe: DataRecipe, seed: int = 0) -> SplitPlan:
    """Return how a packed set is split by groups.

    Args:
        samples: the set.
        store: its packed images.
        recipe: the choices about data.
        seed: another seed gives another split.

    Raises:
        DataError: if an earlier split cannot be followed.
        RecipeError: if `split` or `group_by` cannot be used.
    """
    groups = image_groups(samples, store.duplicates, recipe.group_by)
    splits, notes, wanted = _choose_splits(samples, groups, recipe.split, seed)
    leaks = find_leaks(groups, splits, store.usable)
    dropped = training_copies(leaks, splits) if recipe.drop_leaks else []
    rows = SplitRows.of(splits, np.setdiff1d(store.usable, dropped).astype(np.int64))
    refusals = _refusals(samples, store, rows, wanted, drops=bool(dropped))
    if not refusals:
        notes += _notes_on_classes(samples, rows, wanted)
    return SplitPlan(rows, leaks, dropped, tuple(notes), tuple(refusals))


def quarantine_refusal(samples: Samples, store: Store) -> str | None:
    """Return why a set is refused of which too many images cannot be used; None if few enough."""
    bad = store.quarantined
    if len(bad) <= MAX_QUARANTINED_FRACTION * len(samples):
        return None
    row, reason = min(bad.items())
    return (
        f"{samples.source}: {len(bad):,} of {len(samples):,} pictures cannot be used; the first is "
        f"{samples.names[row]} ({reason}); `firstlight check` lists them; fix or remove them, or set "
        f"`allow_quarantine`"
    )


def _refusals(samples: Samples, store: Store, rows: SplitRows, wanted: list[Split], *, drops: bool) -> list[str]:
    """Return what a set lacks for training, of the splits that are wanted."""
    source = samples.source
    if len(samples.classes) < 2:
        only = escape_name(samples.classes[0])
        return [f"{source} has only one class, {only}; a classifier needs at least two"]
    if unusable := _classes_without(store.usable, samples):
        return [f"{source}: no usable picture of {list_names(unusable)}; add some or remove the class"]
    if samples.splits is not None and not (samples.splits == Split.TRAIN).any():
        return [_no_training_images(samples, samples.splits)]
    why = (
        "`drop_leaks` left out what is also in another split"
        if drops
        else f"a class needs {len(wanted)} pictures, or groups of pictures, to be split"
    )
    empty = [SPLIT_NAMES[split] for split in wanted if not len(rows.rows(split.word))]
    refusals = [
        f"{source}: no picture is left for the {split} split ({why}); add some, or group them differently"
        for split in empty
    ]
    if (missing := _classes_without(rows.train, samples)) and "train" not in empty:
        refusals.append(f"{source}: no picture of {list_names(missing)} is left to train on ({why}); add some")
    return refusals


def _no_training_images(samples: Samples, splits: NDArray[np.int8]) -> str:
    """Return the refusal of a set whose own split leaves nothing to train on."""
    tops = {name.partition("/")[0] for name in samples.names if "/" in name}
    given = sorted({SPLIT_NAMES[Split(split)] for split in np.unique(splits)})
    if len(tops) == 1 and len(given) == 1:
        top = tops.pop()
        return f"{samples.source}: every picture is in {top}/; put some in train/, or name {samples.source}/{top}"
    return f"{samples.source}: every picture is in the {' or '.join(given)} split; put some in train"


def _notes_on_classes(samples: Samples, rows: SplitRows, wanted: list[Split]) -> list[str]:
    """Return notes on classes that a split for choosing or scoring lacks."""
    notes = []
    untested = _classes_without(rows.test, samples) if Split.TEST in wanted else []
    if unchecked := [name for name in _classes_without(rows.valid, samples) if name not in untested]:
        notes.append(f"no picture of {list_names(unchecked)} is in the validation split")
    if untested:
        notes.append(f"no picture of {list_names(untested)} is in the test split, so its accuracy is not known")
    if untested and samples.splits is None:
        notes.append(f"to be in every split, a class needs {len(wanted)} pictures, or groups of pictures")
    return notes


def require_split(choice: str) -> None:
    """Raise a UserError if `split` is neither proportions nor a table that can be read."""
    if Path(choice).suffix == ".csv":
        read_split(expand_user(choice))
    else:
        parse_fractions(choice)


def _choose_splits(
    samples: Samples, groups: NDArray[np.int64], choice: str, seed: int
) -> tuple[NDArray[np.int8], list[str], list[Split]]:
    """Return every image's split, int8 `[N]`, notes, and the splits that are wanted.

    They are from an earlier run's table, official, or by proportions.
    """
    table = read_split(expand_user(choice)) if Path(choice).suffix == ".csv" else None
    fractions = parse_fractions(DEFAULT_FRACTIONS if table is not None else choice)
    wanted = [split for split in Split if samples.splits is not None or fractions[split]]
    if samples.splits is not None:
        splits = complete_official(samples.splits, samples.labels, groups, samples.names, seed)
    else:
        splits = assign(samples.labels, groups, samples.names, fractions, seed)
    if table is not None:
        new = sum(name not in table for name in samples.names)
        if new == len(samples):
            reason = f"this table lists no picture of {samples.source}; use the split.csv of a run on this set"
            raise DataError(reason, field="split", value=choice)
        note = f"the split of {choice} is used; pictures that it does not list: {new:,}"
        return follow(table, groups, samples.names, otherwise=splits), [note], wanted
    if samples.splits is not None and choice != DEFAULT_FRACTIONS:
        return splits, [f"{samples.source} has an official split, which is kept; {choice} was not used"], wanted
    return splits, [], wanted


def _classes_without(rows: NDArray[np.int64], samples: Samples) -> list[str]:
    """Return the classes that have no image among these rows."""
    counts = np.bincount(samples.labels[rows], minlength=len(samples.classes))
    return [name for name, count in zip(samples.classes, counts, strict=True) if not count]
