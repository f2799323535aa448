"""Corrections of labels from a table, `image,label,action`: they change how a run sees its set, never the files.

The split is made before: with and without corrections, the same images are tested. To the test split they are only
applied if that is asked for: correcting just the labels that the model disagrees with would flatter it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from firstlight.choices import did_you_mean
from firstlight.data.samples import Samples
from firstlight.data.sources.csv_rows import csv_rows
from firstlight.data.split import SplitRows
from firstlight.errors import DataError
from firstlight.escaping import escape_name, list_names
from firstlight.files import expand_user, from_cell, write_csv

HEADING = ("image", "label", "action")
ACTIONS = ("keep", "relabel", "remove")


@dataclass(frozen=True)
class Correction:
    """What a person decided about the label of an image.

    Attributes:
        image: its name.
        label: its class from now on; it counts only for `relabel`.
        action: `keep` (the label is right), `relabel`, or `remove` (use the image for nothing).
        place: where it stands, for messages, such as `corrections.csv line 3`.
    """

    image: str
    label: str
    action: str
    place: str = ""


@dataclass(frozen=True)
class Corrected:
    """A set with corrections applied.

    Attributes:
        samples: with the corrected labels.
        rows: of each split, without those that were removed.
        applied: the corrections that were.
        note: what was done, for people.
    """

    samples: Samples
    rows: SplitRows
    applied: tuple[Correction, ...]
    note: str


def read_corrections(path: Path | str) -> tuple[Correction, ...]:
    """Read a table of corrections.

    Raises:
        DataError: if it cannot be read, has an unknown action, or lists an image twice.
    """
    file = expand_user(path)
    try:
        columns, rows = csv_rows(file, str(path), image_column="image", label_column="label")
    except DataError as error:
        raise (error if error.field is None else _no_column(path, str(error.value))) from None
    except OSError as error:
        reason = f"this file cannot be read ({error.strerror}); give the corrections.csv of a report"
        raise DataError(reason, field="corrections", value=str(path)) from None
    found: dict[str, Correction] = {}
    for place, cells in rows:
        where = f"{path} {place}"
        action_column = next((name for name in cells if name.casefold() == "action"), None)
        if action_column is None:
            raise _no_column(path, "action")
        image, label = from_cell(cells[columns.image]), from_cell(cells[columns.label] if columns.label else "").strip()
        action = cells[action_column].strip().lower()
        if action not in ACTIONS:
            raise DataError(f"{where}: the action {escape_name(action)!r} is unknown; write keep, relabel or remove")
        if image in found:
            first = found[image].place.removeprefix(f"{path} ")
            raise DataError(f"{where}: {escape_name(image)} was listed before, on {first}; keep one of the two lines")
        found[image] = Correction(image, label, action, where)
    return tuple(found.values())


def _no_column(path: Path | str, name: str) -> DataError:
    return DataError(f"{path} has no column {name}; its first line must be {','.join(HEADING)}")


def write_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Write a table of corrections, atomically."""
    write_csv(path, [HEADING, *((each.image, each.label, each.action) for each in corrections)])


def apply_corrections(
    corrections: Iterable[Correction], samples: Samples, rows: SplitRows, *, to_test: bool, source: str
) -> Corrected:
    """Return a set with corrected labels, split as before.

    Args:
        corrections: from `read_corrections`.
        samples: the set.
        rows: of each split.
        to_test: whether they are applied to the test split as well.
        source: where the corrections are from, for messages.

    Raises:
        DataError: if a correction is about an image or a class that the set does not have, or leaves nothing of a
            split, or of a class in train.
    """
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(samples.names):
        rows_of.setdefault(name, []).append(row)
    number = {name: place for place, name in enumerate(samples.classes)}
    labels, tested = samples.labels.copy(), set(rows.test.tolist())
    removed: list[int] = []
    applied = []
    skipped = 0
    for each in corrections:
        where = each.place or source
        if each.image not in rows_of:
            raise DataError(
                f"{where}: {samples.source} has no picture {escape_name(each.image)}; write names as in suspects.csv"
            )
        if each.action == "relabel" and each.label not in number:
            hint = did_you_mean(each.label, samples.classes) or f"; the classes are {list_names(samples.classes)}"
            raise DataError(f"{where}: there is no class {escape_name(each.label)!r}{hint}")
        its = rows_of[each.image]
        if not to_test and tested.intersection(its):
            skipped += each.action != "keep"
            continue
        applied.append(each)
        if each.action == "relabel":
            labels[its] = number[each.label]
        elif each.action == "remove":
            removed += its
    kept = SplitRows(*(np.setdiff1d(part, removed).astype(np.int64) for part in (rows.train, rows.valid, rows.test)))
    corrected = replace(samples, labels=labels)
    _require_enough(corrected, rows, kept, source)
    counts = {action: sum(each.action == action for each in applied) for action in ACTIONS}
    note = (
        f"corrections of {source}: {counts['relabel']:,} relabeled, {counts['remove']:,} removed, "
        f"{counts['keep']:,} confirmed"
    )
    if skipped:
        note += f"; {skipped:,} in the test split not applied, set `correct_test` to apply them there too"
    return Corrected(corrected, kept, tuple(applied), note)


def _require_enough(samples: Samples, before: SplitRows, rows: SplitRows, source: str) -> None:
    words = {"train": "train on", "valid": "validate on", "test": "test on"}
    for split, purpose in words.items():
        if len(before.rows(split)) and not len(rows.rows(split)):
            raise DataError(f"{source}: these corrections leave no picture to {purpose}; keep some")
    counts = np.bincount(samples.labels[rows.train], minlength=len(samples.classes))
    if missing := [name for name, count in zip(samples.classes, counts, strict=True) if not count]:
        raise DataError(f"{source}: these corrections leave no picture of {list_names(missing)} to train on; keep some")
