"""The parity gate: an export is written only if it gives the model's answers on real images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from firstlight.errors import UserError
from firstlight.inference.engines.answers import Answers, Engine
from firstlight.progress import progress

LEAST = 64  # images
BATCHES = (1, 3)  # the first batches; whatever works for these and for full ones works for any
FULL_BATCH = 32


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far an export may be from its model.

    Attributes:
        agreement: of the images, the least fraction with the same most probable class.
        difference: of a probability, the most; None for no limit.
        strangeness: the most difference of the strangeness, relative to it if it is above 1; None for no limit.
    """

    agreement: float
    difference: float | None
    strangeness: float | None


BOUNDS = {
    "float32": Bounds(agreement=1.0, difference=1e-4, strangeness=1e-2),
    "bfloat16": Bounds(agreement=0.99, difference=None, strangeness=None),
    "int8": Bounds(agreement=0.99, difference=None, strangeness=None),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """How well an export agrees with its model.

    Attributes:
        n: the number of images.
        top1_agreement: the fraction of them with the same most probable class.
        max_difference: the largest difference of a probability.
        max_strangeness_difference: the largest difference of the strangeness, relative to it if it is above 1; None if
            the model cannot tell.
    """

    n: int
    top1_agreement: float
    max_difference: float
    max_strangeness_difference: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; what was not measured is left out."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


def compared(reference: Engine, candidate: Engine, images: Tensor) -> Checked:
    """Return how well two engines agree about images, uint8 `[N, C, H, W]`; batches are 1, 3 and 32 images large."""
    differences, agreements, strange = [], 0, []
    with progress("checking the export", len(images), "pictures") as advance:
        for batch in _batches(images):
            expected, found = reference(batch), candidate(batch)
            differences.append((expected.probabilities.cpu() - found.probabilities).abs().max())
            agreements += int((expected.probabilities.cpu().argmax(dim=1) == found.probabilities.argmax(dim=1)).sum())
            strange += _strangeness_differences(expected, found)
            advance(len(batch))
    return Checked(
        n=len(images),
        top1_agreement=agreements / len(images),
        max_difference=float(torch.stack(differences).max()),
        max_strangeness_difference=float(torch.stack(strange).max()) if strange else None,
    )


def require_parity(checked: Checked, precision: str) -> None:
    """Refuse an export whose answers differ from those of the model.

    Raises:
        UserError: with the figures.
    """
    bounds = BOUNDS[precision]
    if not checked.top1_agreement >= bounds.agreement:
        differ = round((1 - checked.top1_agreement) * checked.n)
        found = f"it gives another class for {differ:,} of {checked.n:,} pictures"
    elif bounds.difference is not None and not checked.max_difference <= bounds.difference:
        found = f"a probability is off by {checked.max_difference:.2g}, more than {bounds.difference:g}"
    elif _is_above(checked.max_strangeness_difference, bounds.strangeness):
        found = f"the strangeness is off by {checked.max_strangeness_difference:.2g}, more than {bounds.strangeness:g}"
    else:
        return
    raise UserError(f"the export does not answer as the model does: {found}; nothing was written")


def _batches(images: Tensor) -> Iterator[Tensor]:
    sizes, start = iter(BATCHES), 0
    while start < len(images):
        size = next(sizes, FULL_BATCH)
        yield images[start : start + size]
        start += size


def _strangeness_differences(expected: Answers, found: Answers) -> list[Tensor]:
    if expected.strangeness is None or found.strangeness is None:
        return []
    wanted = expected.strangeness.cpu()
    return [((wanted - found.strangeness).abs() / wanted.abs().clamp_min(1)).max()]


def _is_above(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and not value <= limit
