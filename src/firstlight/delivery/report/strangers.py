"""Strangers: how unlike anything in training the test images are, and which are the strangest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from firstlight.delivery.report.answers import Answers
from firstlight.delivery.report.figures import histogram
from firstlight.delivery.report.tiles import Tile, tile_of
from firstlight.delivery.wording import between, counted, percent
from firstlight.evaluation.intervals import proportion

BARS = 24
SHOWN = 12  # of the strangest images


@dataclass(frozen=True)
class Strangers:
    """What the page says of strangers: in words, the histogram of the scores, and the strangest images."""

    words: str
    figure: Markup
    tiles: tuple[Tile, ...]


def strangers_of(
    scores: NDArray[np.float32] | None,
    trust: Mapping[str, Any] | None,
    answers: Answers,
    classes: tuple[str, ...],
) -> Strangers | None:
    """Return how strange the test images are; None if the run did not measure it.

    Args:
        scores: of each test image, float `[n]`; higher is stranger.
        trust: the `trust` block of the model file, which holds the threshold.
        answers: for the test images.
        classes: the K names.
    """
    strangeness = (trust or {}).get("strangeness")
    if scores is None or not strangeness or not np.isfinite(scores).any():
        return None
    threshold, count = float(strangeness["threshold"]), int((scores > strangeness["threshold"]).sum())
    finite = scores[np.isfinite(scores)]
    ends = (float(min(finite.min(), threshold)), float(max(finite.max(), threshold)))
    ends = ends if ends[1] > ends[0] else (ends[0] - 0.5, ends[1] + 0.5)
    counts, _ = np.histogram(finite, bins=BARS, range=ends)
    share = proportion(count, len(scores))
    words = (
        f"The model calls a picture unlike anything in training if its strangeness is above {threshold:.3g}. This "
        f"happened to {count:,} of {counted(len(scores), 'test picture')} ({percent(share.value)}, 95% interval "
        f"{between(share)}), although all of them belong to known classes; about 5% is to be expected."
    )
    figure = histogram(counts.tolist(), ends, "strangeness", words=words, marked=threshold)
    strangest = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:SHOWN].tolist()
    return Strangers(words, figure, tuple(tile_of(answers, place, classes) for place in strangest))
