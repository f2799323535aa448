"""The shortcuts of a packed set: its cues as numbers, and in which order of trust they are told."""

import numpy as np
from numpy.typing import NDArray

from firstlight.data.groups import image_groups
from firstlight.data.samples import Samples
from firstlight.data.store import Store
from firstlight.evaluation.edges import BORDER, CORNERS, edge_patches
from firstlight.evaluation.shortcuts import PatchCue, Shortcut, ValueCue, find_shortcuts

# Steps of size and proportions that count as different: a quarter of an octave of pixels, 10%.
STEPS_PER_OCTAVE, STEPS_OF_PROPORTIONS = 4, 10
STEPS_OF_QUALITY = 4  # per factor e of the quantization step
TEXTS = {
    "format": "format",
    "mode": "mode",
    "camera": "exif camera",
    "software": "exif software",
    "day": "exif date",
    "author": "exif author",
    "description": "exif description",
    "fields": "exif fields",
}
# What follows from another cue that is found is not told again.
FOLLOWS = {
    "jpeg": {"format"},
    "exif fields": {"format", *(cue for cue in TEXTS.values() if cue.startswith("exif"))} - {"exif fields"},
}
MANY_CORNERS = 3  # if so many tell the class, it is the border


def shortcuts_in(samples: Samples, store: Store, rows: NDArray[np.int64] | None = None) -> tuple[Shortcut, ...]:
    """Return the shortcuts in a packed set, judging by a sample of it.

    Args:
        samples: the set.
        store: its packed images.
        rows: the images that may be looked at; by default all that are usable.
    """
    if store.cues is None:
        return ()
    table = store.cues.table
    seen = np.flatnonzero(np.isin(table["row"], store.usable if rows is None else rows) & table["usable"])
    if len(seen) < 2:
        return ()
    table, labels = table[seen], samples.labels[table["row"][seen]]
    patches = [PatchCue(*found) for found in edge_patches(store.cues.thumbnails[seen])]
    groups = image_groups(samples, store.duplicates)[table["row"]]
    return told_once(find_shortcuts(value_cues(table), patches, labels, samples.classes, groups))


def value_cues(table: NDArray[np.void]) -> list[ValueCue]:
    """Return the cues of single values in CUES `[n]`."""
    height, width = table["height"].astype(np.float64), table["width"].astype(np.float64)
    pixels = np.log2(np.maximum(height * width, 1))
    return [
        ValueCue("size", [_steps(pixels * STEPS_PER_OCTAVE)]),
        ValueCue("aspect", [_steps(np.log(np.maximum(width, 1) / np.maximum(height, 1)) * STEPS_OF_PROPORTIONS)]),
        ValueCue(
            "jpeg", [np.ascontiguousarray(table["tables"]).view(np.int64), _steps(table["quality"] * STEPS_OF_QUALITY)]
        ),
        *(ValueCue(cue, [np.ascontiguousarray(table[name]).view(np.int64)]) for name, cue in TEXTS.items()),
    ]


def told_once(found: tuple[Shortcut, ...]) -> tuple[Shortcut, ...]:
    """Return the shortcuts without those that only follow from others."""
    cues = {one.cue for one in found}
    corners = [one for one in found if one.cue in CORNERS]
    border = next((one for one in found if one.cue == BORDER), None)
    hidden = {cue for cue, others in FOLLOWS.items() if others & cues}
    if len(corners) >= MANY_CORNERS or (border and corners and border.gain > corners[0].gain):
        hidden |= CORNERS.keys()
        best = max([*corners, *filter(None, [border])], key=lambda one: one.gain)
        found = (
            Shortcut(BORDER, best.gain, best.baseline, best.p, best.label),
            *(one for one in found if one.cue != BORDER),
        )
    elif corners:
        hidden.add(BORDER)
    return tuple(sorted((one for one in found if one.cue not in hidden), key=lambda one: -one.gain))


def _steps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)
