"""Which training images are probably labeled wrong, by what a run has said about them on the way."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firstlight.data.dataset import Dataset
from firstlight.data.groups import image_groups
from firstlight.evaluation.label_errors import find_label_errors
from firstlight.runs.outputs import Outputs, write_outputs
from firstlight.runs.suspects import Suspect, write_suspects
from firstlight.training.state import Learned


def answered(learned: Learned, data: Dataset) -> Outputs | None:
    """Return what a network trained by gradient answered about the training images, before it learned from them."""
    if learned.answers is None or not len(learned.answers.sums):
        return None
    logits = learned.answers.mean().numpy()
    known = ~np.isnan(logits[:, 0])  # few epochs may leave out images
    rows, logits = data.split.train[known], logits[known]
    names = tuple(data.samples.names[row] for row in rows)
    return Outputs(names, data.samples.labels[rows], logits, digests=data.store.digests[rows])


def judge_labels(
    folder: Path, outputs: Outputs | None, data: Dataset, group_by: str | None = None
) -> tuple[Suspect, ...]:
    """Return the training images that look more like another class than like their own, most suspect first.

    They are written to `suspects.csv`, and what was said about the training images to `outputs/`. Images that a person
    has corrected or confirmed are not listed.

    Args:
        folder: the run folder.
        outputs: of the training images, by heads that did not see them; None where there are none.
        data: the set they are from.
        group_by: how the recipe groups images.
    """
    if outputs is None:
        return ()
    write_outputs(folder, "train", outputs)
    groups = image_groups(data.samples, data.store.duplicates, group_by)[data.split.train]
    if len(outputs) < len(groups):
        place_of = {data.samples.names[row]: place for place, row in enumerate(data.split.train)}
        groups = groups[[place_of[name] for name in outputs.names]]
    suspects = as_suspects(outputs, groups, data.samples.classes, data.reviewed)
    write_suspects(folder, suspects)
    return suspects


def as_suspects(
    outputs: Outputs, groups: NDArray[np.int64], classes: tuple[str, ...], reviewed: frozenset[str] = frozenset()
) -> tuple[Suspect, ...]:
    """Return the images that look more like another class than like their own, most suspect first.

    Args:
        outputs: of heads that did not see them, n images.
        groups: int64 `[n]`; images of one group, such as copies, are no witnesses for each other.
        classes: the K names.
        reviewed: names of images whose labels a person has decided about.
    """
    finite = np.isfinite(outputs.logits).all(axis=1)
    features = outputs.features
    if features is not None:
        finite &= np.isfinite(features).all(axis=1)
    some = np.flatnonzero(finite)
    labels = outputs.labels[some]
    found = find_label_errors(outputs.logits[some], labels, None if features is None else features[some], groups[some])
    suspects = (
        Suspect(
            image=outputs.names[some[place]],
            label=classes[labels[place]],
            suggested=classes[found.suggested[place]],
            score=round(float(found.score[place]), 4),
            flagged=bool(found.flagged[place]),
        )
        for place in found.order
    )
    return tuple(suspect for suspect in suspects if suspect.image not in reviewed)
