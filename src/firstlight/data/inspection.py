"""A set looked over before training: what is in it, what cannot be used, what stands twice, what leaks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from firstlight.data.dataset import named_groups
from firstlight.data.images import MAX_PIXELS
from firstlight.data.samples import Samples
from firstlight.data.split import find_leaks
from firstlight.data.store import Store, pack


@dataclass(frozen=True)
class Inspection:
    """A set and what decoding every image of it told."""

    samples: Samples
    store: Store

    def to_json(self) -> dict[str, Any]:
        """Give what `firstlight check --json` prints; groups of copies are lists of names."""
        samples, store = self.samples, self.store
        counts = np.bincount(samples.labels, minlength=len(samples.classes)).tolist()
        return {
            "source": samples.source,
            "n": len(samples),
            "classes": dict(zip(samples.classes, counts, strict=True)),
            "sizes": store.sizes,
            "modes": store.modes,
            "quarantined": [
                {"image": samples.names[row], "reason": reason} for row, reason in sorted(store.quarantined.items())
            ],
            "duplicates": self._named(store.duplicates.exact),
            "near_duplicates": self._named(store.duplicates.near),
            "leaks": self._named(self._leaks()),
            "notes": {text: [samples.names[row] for row in rows] for text, rows in store.notes.items()},
            "source_notes": list(samples.notes),
        }

    def _leaks(self) -> list[list[int]]:
        """Copies that stand in more than one part of the set's own split."""
        if self.samples.splits is None:
            return []
        groups = named_groups(self.samples, self.store.duplicates)
        return find_leaks(groups, self.samples.splits, self.store.usable)

    def _named(self, groups: list[list[int]]) -> list[list[str]]:
        return [[self.samples.names[row] for row in group] for group in groups]


def inspect(samples: Samples, workers: int | None = None, max_pixels: int = MAX_PIXELS) -> Inspection:
    """Decode every image of a set once, as `train` does for our own networks, or find that it has been done."""
    return Inspection(samples, pack(samples, workers=workers, max_pixels=max_pixels))
