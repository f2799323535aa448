"""Check a set before training: what is in it, which images cannot be used, which are copies, and what leaks."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from firstlight.data.groups import image_groups
from firstlight.data.images import MAX_PIXELS
from firstlight.data.label_conflicts import LabelConflicts, label_conflicts, with_labels
from firstlight.data.plan import SplitPlan, plan_split, quarantine_refusal
from firstlight.data.recipe import DataRecipe
from firstlight.data.samples import Samples, Split
from firstlight.data.split import find_leaks
from firstlight.data.store import Store, pack
from firstlight.evaluation.cues import shortcuts_in
from firstlight.evaluation.shortcuts import Shortcut
from firstlight.runs.suspects import LabelCheck
from firstlight.tables import Html, data_frame

if TYPE_CHECKING:
    from pandas import DataFrame


ROWS_SHOWN = 5  # of each finding, in a notebook
_FINDINGS = {
    "quarantined": "cannot be used",
    "duplicates": "groups of exact copies",
    "near_duplicates": "groups of near copies",
    "leaks": "groups in more than one split",
}


@dataclass(frozen=True, repr=False)
class CheckReport:
    """A set, and what was found by decoding all its images."""

    samples: Samples
    store: Store
    labels: LabelCheck | None = None

    @property
    def conflicts(self) -> LabelConflicts:
        """The images that are in two classes."""
        return label_conflicts(self.samples, self.store.duplicates)

    @cached_property
    def shortcuts(self) -> tuple[Shortcut, ...]:
        """What tells the classes apart and is not the object, the one that tells most first."""
        return shortcuts_in(self.samples, self.store)

    @property
    def plan(self) -> SplitPlan:
        """How training would split the set by default, and why it might refuse it."""
        return plan_split(self.samples, self.store, DataRecipe())

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, as the command line prints it; groups of copies are lists of names."""
        samples, store, conflicts, plan = self.samples, self.store, self.conflicts, self.plan
        refusals = [*filter(None, [quarantine_refusal(samples, store)]), *plan.refusals]
        counts = np.bincount(samples.labels, minlength=len(samples.classes)).tolist()
        return {
            "source": samples.source,
            "n": len(samples),
            "classes": dict(zip(samples.classes, counts, strict=True)),
            "splits": self._split_counts(),
            "sizes": store.sizes,
            "modes": store.modes,
            "quarantined": [
                {"image": samples.names[row], "reason": reason} for row, reason in sorted(store.quarantined.items())
            ],
            "duplicates": self._names_of(store.duplicates.exact),
            "near_duplicates": self._names_of(store.duplicates.near),
            "leaks": self._names_of(self._leaks()),
            "notes": {text: [samples.names[row] for row in rows] for text, rows in store.notes.items()},
            "source_notes": list(samples.notes),
            "two_labels": [list(group) for group in with_labels(samples, conflicts.exact)],
            "conflicts": self._names_of(conflicts.exact),
            "near_two_labels": [list(group) for group in with_labels(samples, conflicts.near)],
            "shortcuts": [asdict(shortcut) for shortcut in self.shortcuts],
            "training_notes": list(plan.notes),
            "training_refuses": refusals,
            **(self.labels.to_json() if self.labels else {}),
        }

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each image.

        Its columns are `image`, `label`, `split`; `reason`, why it cannot be used, or None; the number of its group of
        `copies` and of `near_copies`, or None; and whether it has a copy in another split, `leaks`.

        Raises:
            UserError: if pandas is not installed.
        """
        samples, store = self.samples, self.store
        groups = [
            {row: number for number, group in enumerate(found) for row in group}
            for found in (store.duplicates.exact, store.duplicates.near)
        ]
        leaked = {row for group in self._leaks() for row in group}
        rows = (
            {
                "image": name,
                "label": samples.classes[samples.labels[row]],
                "split": None if samples.splits is None else Split(samples.splits[row]).word,
                "reason": store.quarantined.get(row),
                "copies": groups[0].get(row),
                "near_copies": groups[1].get(row),
                "leaks": row in leaked,
            }
            for row, name in enumerate(samples.names)
        )
        return data_frame(rows).convert_dtypes()

    def __repr__(self) -> str:
        found = self.to_json()
        counts = ", ".join(f"{len(found[key]):,} {words}" for key, words in _FINDINGS.items())
        return f"CheckReport({self.samples.source!r}, {len(self.samples):,} pictures; {counts})"

    def _repr_html_(self) -> str:
        found = self.to_json()
        shown = Html(f"Check of {self.samples.source}").facts(
            {words: f"{len(found[key]):,}" for key, words in _FINDINGS.items()}
        )
        shown.table(found["quarantined"][:ROWS_SHOWN], "cannot be used", more=len(found["quarantined"]) - ROWS_SHOWN)
        for key, words in _FINDINGS.items():
            if key != "quarantined":
                groups = [{"pictures": " = ".join(group)} for group in found[key][:ROWS_SHOWN]]
                shown.table(groups, words, more=len(found[key]) - ROWS_SHOWN)
        return self.samples.add_to(shown).text()

    def _split_counts(self) -> dict[str, int] | None:
        """Return the number of images in each split of the set's own; None if it has none."""
        if self.samples.splits is None:
            return None
        return {split.word: count for split in Split if (count := int((self.samples.splits == split).sum()))}

    def _leaks(self) -> list[list[int]]:
        """Return the copies that are in more than one of the set's own splits."""
        if self.samples.splits is None:
            return []
        groups = image_groups(self.samples, self.store.duplicates)
        return find_leaks(groups, self.samples.splits, self.store.usable)

    def _names_of(self, groups: list[list[int]]) -> list[list[str]]:
        return [[self.samples.names[row] for row in group] for group in groups]


def check(samples: Samples, workers: int | None = None, max_pixels: int = MAX_PIXELS) -> CheckReport:
    """Decode every image of a set once, or use the cached result, and return what was found.

    Args:
        samples: from `load_data`.
        workers: decoding threads; by default one per processor.
        max_pixels: an image with more pixels is quarantined before it is decoded.

    Raises:
        DataError: if the disk has no room for the packed images.
        RecipeError: if a number is out of range.

    >>> from firstlight.data.sources import load_data
    >>> check(load_data("digits")).to_json()["sizes"]
    {'8x8': 1797}
    """
    DataRecipe(workers=workers, max_pixels=max_pixels)  # checks both
    return CheckReport(samples, pack(samples, workers=workers, max_pixels=max_pixels))
