"""What a run keeps of its images for the report: thumbnails of those it shows, facts about each, and which are copies.

Thumbnails are made from the packed pixels, so they take no time to decode, and show what the network saw.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.groups import groups_from_names
from firstlight.data.samples import Samples, Split
from firstlight.data.split import SplitRows
from firstlight.data.store import Store
from firstlight.data.streaming import PixelRows
from firstlight.evaluation.softmax import Softmax
from firstlight.files import write_csv
from firstlight.runs.folder import COPIES_FILE
from firstlight.runs.outputs import (
    CHECK_IMAGES_FILE,
    SMALL_THUMBNAILS_FILE,
    ImageFacts,
    Outputs,
    write_facts,
    write_thumbnails,
)

SIDE = 96  # pixels, of a thumbnail, at most
LOSSLESS_SIDE = 64  # pixels; smaller ones are shown with sharp pixels
MOST_WRONG, MOST_RIGHT = 60, 24  # images that are shown for each pair of a true and a predicted class
ROWS_AT_ONCE = 256  # whose pixels are in memory
MOST_SHOWN = 3000  # test images
MOST_STRANGE = 12  # test images
MOST_SUSPECTS = 200  # images whose labels are in doubt
CHECK_IMAGES, LEAST_CHECK_IMAGES = 128, 64  # images that exports are checked on
MOST_COPIES = 100  # groups of copies
COPIES_COLUMNS = ("group", "kind", "image", "label", "split")


@dataclass(frozen=True, eq=False)
class Kept:
    """What the report needs of a set.

    Attributes:
        images: the thumbnails of the images that it shows, uint8 `[H, W, C]` each, by name.
        facts: about the images that were scored.
        copies: one row for each image that has copies, with the columns `COPIES_COLUMNS`.
    """

    images: dict[str, NDArray[np.uint8]]
    facts: ImageFacts
    copies: list[tuple[str, ...]]


def kept_of(
    samples: Samples,
    store: Store,
    scored: NDArray[np.int64],
    outputs: Outputs,
    *,
    temperature: float,
    split: SplitRows | None = None,
    group_by: str | None = None,
    more: Iterable[int] = (),
) -> Kept:
    """Return what the report needs of a set.

    Args:
        samples: the set.
        store: its packed images.
        scored: the rows of the outputs.
        outputs: what the model said about them.
        temperature: as fitted on validation.
        split: the rows of each split, where there are any.
        group_by: how names give groups, as in the recipe.
        more: rows of further images that the report shows.
    """
    shown = scored[shown_positions(outputs, temperature)].tolist()
    if outputs.strangeness is not None:
        shown += scored[np.argsort(-outputs.strangeness, kind="stable")[:MOST_STRANGE]].tolist()
    copies = copies_shown(samples, store)
    rows = list(dict.fromkeys([*shown, *chain.from_iterable(group for _, group in copies), *more]))
    names = (samples.names[row] for row in rows)
    return Kept(
        images=dict(zip(names, small_images(store.pixels, rows), strict=True)),
        facts=facts_of(samples, store, scored, group_by),
        copies=_table(samples, copies, split),
    )


def write_kept(folder: Path, kept: Kept) -> None:
    """Write what the report of a run needs into its folder; `copies.csv` only if there are any."""
    write_thumbnails(
        folder,
        list(kept.images),
        kept.images.values(),
        file=SMALL_THUMBNAILS_FILE,
        lossless_side=LOSSLESS_SIDE,
    )
    write_facts(folder, kept.facts)
    if kept.copies:
        write_csv(folder / COPIES_FILE, [COPIES_COLUMNS, *kept.copies])


def write_check_images(folder: Path, samples: Samples, store: Store, split: SplitRows) -> None:
    """Write the images that exports are checked on: some of each class of the validation split, at the network's size.

    Where that split has fewer than `LEAST_CHECK_IMAGES`, images of the training split make up for them.
    """
    rows = _spread(split.valid, samples.labels, CHECK_IMAGES)
    rows = np.r_[rows, _spread(split.train, samples.labels, max(0, LEAST_CHECK_IMAGES - len(rows)))].tolist()
    images = (np.asarray(store.pixels[row]) for row in rows)
    write_thumbnails(folder, [samples.names[row] for row in rows], images, file=CHECK_IMAGES_FILE)


def _spread(rows: NDArray[np.int64], labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return up to `count` rows, spread evenly over the classes, and over the rows of each."""
    by_class = rows[np.argsort(labels[rows], kind="stable")]
    return by_class[np.linspace(0, len(by_class) - 1, min(count, len(by_class))).round().astype(np.int64)]


def shown_positions(test: Outputs, temperature: float) -> list[int]:
    """Return the positions of the test images that the report shows, without repetition, wrong answers first.

    Of each pair of a true and a predicted class these are the most confident mistakes, or the right answers of which
    the model was least sure. Where there are too many, every pair loses some.
    """
    logits, labels = torch.from_numpy(test.logits), torch.from_numpy(test.labels)
    confidence = Softmax.of(logits, temperature).confidence.numpy()
    predicted = test.logits.argmax(axis=1)
    right = predicted == test.labels
    order = np.lexsort([np.where(right, confidence, -confidence), predicted, labels.numpy()])
    cells = test.labels[order] * test.logits.shape[1] + predicted[order]
    starts = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]]) if len(cells) else np.zeros(0, np.int64)
    rank = np.arange(len(cells)) - np.repeat(starts, np.diff(np.r_[starts, len(cells)]))
    kept = rank < np.where(right[order], MOST_RIGHT, MOST_WRONG)
    order, rank = order[kept], rank[kept]
    positions: list[int] = order[np.lexsort([order, rank, right[order]])][:MOST_SHOWN].tolist()
    return positions


def small_images(pixels: PixelRows, rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of some rows of uint8 `[N, H, W, C]`, with no side longer than `SIDE`."""
    from PIL import Image

    for row in rows:
        found = np.asarray(pixels[row])
        if max(found.shape[:2]) <= SIDE:
            yield found
            continue
        image = Image.fromarray(found[..., 0] if found.shape[2] == 1 else found)
        image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
        yield np.asarray(image).reshape(image.height, image.width, -1)


def facts_of(samples: Samples, store: Store, rows: NDArray[np.int64], group_by: str | None) -> ImageFacts:
    """Return the facts about some rows of a set."""
    nameless = [""] * len(samples)
    named = groups_from_names(samples.names, group_by) if group_by else nameless
    given = samples.groups or nameless
    parts = (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
    brightness = [image.mean() / 255 for part in parts for image in store.pixels[part, ::2, ::2]]
    return ImageFacts(
        sizes=store.original_sizes[rows],
        brightness=np.array(brightness, np.float32),
        groups=tuple(given[row] or named[row] for row in rows.tolist()),
    )


def copies_shown(samples: Samples, store: Store) -> list[tuple[str, list[int]]]:
    """Return up to `MOST_COPIES` groups of copies, those with two labels first: `exact` or `near`, and the rows."""
    in_near = {row for group in store.duplicates.near for row in group}
    groups = [("exact", group) for group in store.duplicates.exact if in_near.isdisjoint(group)]
    groups += [("near", group) for group in store.duplicates.near]

    def is_plain(group: tuple[str, list[int]]) -> bool:
        return len(set(samples.labels[group[1]].tolist())) == 1

    return sorted(groups, key=is_plain)[:MOST_COPIES]


def _table(
    samples: Samples, copies: Sequence[tuple[str, Sequence[int]]], split: SplitRows | None
) -> list[tuple[str, ...]]:
    words: dict[int, str] = {}
    for part in Split if split else ():
        words |= dict.fromkeys(split.rows(part.word).tolist() if split else (), part.word)
    return [
        (str(number), kind, samples.names[row], samples.classes[samples.labels[row]], words.get(row, ""))
        for number, (kind, group) in enumerate(copies, 1)
        for row in group
    ]
