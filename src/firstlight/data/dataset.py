"""A data set ready to train on or to score: packed, quarantined, grouped, split, and checked for leaks."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates import Duplicates, group_ids
from firstlight.data.images import MAX_PIXELS
from firstlight.data.samples import Samples
from firstlight.data.split import (
    FEWEST_GROUPS,
    SPLIT_NAMES,
    Split,
    assign,
    complete_official,
    find_leaks,
    follow,
    name_groups,
    parse_fractions,
    read_split,
    training_copies,
)
from firstlight.data.store import USUAL_SIDE, Size, Store, pack
from firstlight.errors import DataError, RecipeError
from firstlight.files import write_csv

if TYPE_CHECKING:
    import torch

    from firstlight.data.loader import Loader

DEFAULT_FRACTIONS = "70/15/15"
QUARANTINE_LIMIT = 0.01  # a larger share of unusable images stops a run unless it was allowed


@dataclass(frozen=True)
class Dataset:
    """Samples, their packed images, and the part each of them plays.

    Attributes:
        samples: names, labels and classes.
        store: the packed images.
        split: the rows of train, valid and test.
        leaks: groups (copies, or what belongs together) that stand in more than one part of an official split, as rows.
        dropped: rows taken out of the split because of that.
        notes: what a person should know about the split.
    """

    samples: Samples
    store: Store
    split: Split
    leaks: list[list[int]]
    dropped: list[int]
    notes: tuple[str, ...] = ()

    def loader(self, part: str, device: "torch.device") -> "Loader":
        """Give `train`, `valid`, `test` or `all` in batches for scoring, in the order of the set."""
        from firstlight.data.loader import Loader

        return Loader(self.store.pixels, self.samples.labels, self.split.part(part), device=device)


def open_samples(
    samples: Samples,
    *,
    size: Size = None,
    usual: int = USUAL_SIDE,
    resize: str = "crop",
    workers: int | None = None,
    allow_quarantine: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Store:
    """Pack a set; stop if too many of its images cannot be used.

    Args:
        samples: from `load_data`.
        size: what to bring images to; see `store.pack`, as for `usual`, `fit` and `workers`.
        usual: the side where none is asked for.
        fit: `crop`, `crop:SHARE`, `pad` or `squash`.
        workers: decoding threads.
        allow_quarantine: go on even if more than 1 % of the images are unusable.
        max_pixels: an image of more is not decoded but set aside.

    Raises:
        DataError: if more than 1 % of the images are unusable, or all images of a class.
    """
    store = pack(samples, size, usual=usual, resize=resize, workers=workers, max_pixels=max_pixels)
    bad = store.quarantined
    if len(bad) > QUARANTINE_LIMIT * len(samples) and not allow_quarantine:
        row, reason = min(bad.items())
        raise DataError(
            f"{samples.source}: {len(bad):,} of {len(samples):,} pictures cannot be used, the first is "
            f"{samples.names[row]} ({reason}); `firstlight check` lists them; mend or remove them, or say "
            f"--allow-quarantine"
        )
    if empty := _classes_without(store.usable, samples):
        raise DataError(f"{samples.source}: no usable picture of {', '.join(empty)}; add some or remove the class")
    return store


def split_samples(
    samples: Samples,
    store: Store,
    *,
    fractions: str = DEFAULT_FRACTIONS,
    group_by: str | None = None,
    drop_leaks: bool = False,
    seed: int = 0,
) -> Dataset:
    """Split a packed set by groups: copies of an image, and what the user says belongs together.

    Args:
        samples: the set.
        store: its packed images.
        shares: `70/15/15`, or the path of an earlier run's `split.csv` to follow.
        group_by: `folder` or a regular expression; see `split.name_groups`.
        drop_leaks: take the training copies of leaked images out.
        seed: another seed gives another split.

    Raises:
        DataError: if there is nothing left to validate or to test on.
        RecipeError: if `shares` or `group_by` cannot be read.
    """
    groups = named_groups(samples, store.duplicates, group_by)
    manifest = read_split(Path(fractions)) if Path(fractions).suffix == ".csv" else None
    wanted = parse_fractions(DEFAULT_FRACTIONS if manifest is not None else fractions)
    if samples.splits is not None:
        parts = complete_official(samples.splits, samples.labels, groups, samples.names, seed)
    else:
        parts = assign(samples.labels, groups, samples.names, wanted, seed)
    notes = []
    if manifest is not None:
        new = sum(name not in manifest for name in samples.names)
        if new == len(samples):
            raise DataError(
                f"--split {fractions}: it names no picture of {samples.source}; give the split.csv of this set"
            )
        parts = follow(manifest, groups, samples.names, otherwise=parts)
        notes.append(f"the split of {fractions} is followed; pictures that it does not name: {new:,}")
    elif samples.splits is not None and fractions != DEFAULT_FRACTIONS:
        notes.append(f"{samples.source} is split already, so --split {fractions} was not needed")
    usable = store.usable
    leaks = find_leaks(groups, parts, usable)
    dropped = training_copies(leaks, parts) if drop_leaks else []
    split = Split.of(parts, np.setdiff1d(usable, dropped).astype(np.int64))
    why = (
        "--drop-leaks took out what also stands in another part"
        if dropped
        else f"a class needs {FEWEST_GROUPS} pictures, or groups of them, to be split"
    )
    for part in SPLIT_NAMES:
        if not len(split.part(part)):
            raise DataError(
                f"{samples.source}: no picture is left for the {part} part ({why}); add some, or regroup them"
            )
    if missing := _classes_without(split.train, samples):
        raise DataError(f"{samples.source}: no picture of {', '.join(missing)} is left to train on ({why}); add some")
    if missing := _classes_without(split.test, samples):
        notes.append(f"no picture of {', '.join(missing)} is in the test part: how well they are told is not known")
    return Dataset(samples, store, split, leaks, dropped, tuple(notes))


def _classes_without(rows: NDArray[np.int64], samples: Samples) -> list[str]:
    counts = np.bincount(samples.labels[rows], minlength=len(samples.classes))
    return [name for name, count in zip(samples.classes, counts, strict=True) if not count]


def named_groups(samples: Samples, duplicates: Duplicates, group_by: str | None = None) -> NDArray[np.int64]:
    """Give each image the group of its copies, of its own `group`, and of what `group_by` makes of its name."""
    named = [list(samples.groups)] if samples.groups else []
    if group_by:
        named.append(name_groups(samples.names, group_by))
    for groups in named:
        if group_by == "folder" and len(set(groups)) <= len(samples.classes):
            raise RecipeError("--group-by folder: every class is one folder, so nothing could be split; use a REGEX")
    rows_of: dict[tuple[int, str], list[int]] = {}
    for column, groups in enumerate(named):
        for row, group in enumerate(groups):
            if group:
                rows_of.setdefault((column, group), []).append(row)
    return group_ids(len(samples.labels), duplicates, list(rows_of.values()))


def write_quarantine(path: Path, samples: Samples, store: Store) -> None:
    """Write `image,reason`, one row an image that could not be used; only the heading if there is none."""
    rows = ((samples.names[row], reason) for row, reason in sorted(store.quarantined.items()))
    write_csv(path, [("image", "reason"), *rows])
