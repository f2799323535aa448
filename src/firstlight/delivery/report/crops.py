"""What the crop cuts off: how much of the images the network never sees, and some of them side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.report.material import Material
from firstlight.delivery.wording import choices_as_options, counted, percent
from firstlight.escaping import escape
from firstlight.resize import parse_resize, seen_part

MUCH = 0.25  # of an image: cutting off more than this is worth a look
LEAST = 0.02
SHOWN = 6


@dataclass(frozen=True)
class Crop:
    """An image whose edges are cut off, and how much of it is."""

    image: str
    words: str

    @property
    def path(self) -> str:
        """The name as the page shows it."""
        return escape(self.image)


@dataclass(frozen=True)
class Crops:
    """What the crop cuts off, in words, and the images that lose most."""

    words: str
    shown: tuple[Crop, ...]


def crops_of(material: Material) -> Crops | None:
    """Return what the crop cuts off; None if nothing is, or it is not known."""
    if not (material.facts and material.outputs and material.card):
        return None
    lost = lost_of(material.facts.sizes, material.card.input_size, material.card.resize)
    if not len(lost) or lost.max() < LEAST:
        return None
    much = int((lost > MUCH).sum())
    words = (
        f"Before the network sees a picture, {percent(float(lost.mean()), 0)} of it is cut off on average; "
        f"{counted(much, 'test picture')} of {len(lost):,} lost more than {percent(MUCH, 0)}. "
    )
    words += choices_as_options("If what matters is often at the edge, train with `resize` pad or squash.")
    return Crops(words, tuple(_shown(material, lost)))


def lost_of(sizes: NDArray[np.int32], input_size: tuple[int, int, int], resize: str) -> NDArray[np.float64]:
    """Return the fraction of each image that is cut off, float64 `[n]`; 0 where its size is not known."""
    if parse_resize(resize)[0] != "crop":
        return np.zeros(len(sizes))
    unique, place = np.unique(sizes, axis=0, return_inverse=True)
    lost = []
    for height, width in unique.tolist():
        if not height or not width:
            lost.append(0.0)
            continue
        part = seen_part(height, width, input_size, resize)
        lost.append(1 - min(1.0, part.height * part.width / (height * width)))
    return np.array(lost, np.float64)[place.reshape(-1)]


def _shown(material: Material, lost: NDArray[np.float64]) -> Iterator[Crop]:
    """Yield the images of which both are kept, whole and as the network sees it; those that lose most first."""
    assert material.outputs
    names = material.outputs.names
    order = [place for place in np.argsort(-lost, kind="stable").tolist() if lost[place] >= LEAST]
    both = [place for place in order if names[place] in material.originals and names[place] in material.images]
    for place in both[:SHOWN]:
        yield Crop(names[place], f"{percent(float(lost[place]), 0)} cut off")
