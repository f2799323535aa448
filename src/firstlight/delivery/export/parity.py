"""The parity gate: an export is written only if it gives the model's answers on real images."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from firstlight.errors import UserError
from firstlight.inference.engines.answers import Answers, Engine
from firstlight.progress import progress

LEAST = 64  # images
BATCHES = (1, 3)  # the first batches; whatever works for these and for full ones works for any
FULL_BATCH = 32
OTHERS = ("logits", "features", "strangeness")  # outputs besides the probabilities
LEAST_SCALE = 1e-6  # of an output, below which no difference counts


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far an export may be from its model.

    Attributes:
        agreement: of the images, the least fraction with the same most probable class.
        difference: of a probability, the most; None for no limit.
        others: the same for the other outputs by name, relative to the largest value of all images.
    """

    agreement: float
    difference: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)


BOUNDS = {
    "float32": Bounds(1.0, 1e-4, {"logits": 1e-3, "features": 1e-3, "strangeness": 1e-2}),
    "bfloat16": Bounds(0.99),
    "int8": Bounds(0.99),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """How well an export agrees with its model.

    Attributes:
        n: the number of images.
        top1_agreement: the fraction of them with the same most probable class.
        max_difference: the largest difference of a probability.
        max_relative_difference: the largest difference of each other output, relative to its largest value.
    """

    n: int
    top1_agreement: float
    max_difference: float
    max_relative_difference: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "n": self.n,
            "top1_agreement": self.top1_agreement,
            "max_difference": self.max_difference,
            "max_relative_difference": dict(self.max_relative_difference),
        }


def compared(reference: Engine, candidate: Engine, images: Tensor) -> Checked:
    """Return how well two engines agree about images, uint8 `[N, C, H, W]`; batches are 1, 3 and 32 images large."""
    expected, found = [], []
    with progress("checking the export", len(images), "pictures") as advance:
        for batch in _batches(images):
            expected.append(reference(batch))
            found.append(candidate(batch))
            advance(len(batch))
    wanted, given = _joined(expected), _joined(found)
    same = wanted["probabilities"].argmax(dim=1) == given["probabilities"].argmax(dim=1)
    return Checked(
        n=len(images),
        top1_agreement=float(same.double().mean()),
        max_difference=_difference(wanted["probabilities"], given["probabilities"]),
        max_relative_difference={
            name: _difference(wanted[name], given[name]) / max(float(wanted[name].abs().max()), LEAST_SCALE)
            for name in OTHERS
            if name in wanted and name in given
        },
    )


def require_parity(checked: Checked, precision: str) -> None:
    """Refuse an export whose answers differ from those of the model.

    Raises:
        UserError: with the figures.
    """
    bounds = BOUNDS[precision]
    found = None
    if not checked.top1_agreement >= bounds.agreement:
        differ = round((1 - checked.top1_agreement) * checked.n)
        found = f"it gives another class for {differ:,} of {checked.n:,} pictures"
    elif bounds.difference is not None and not checked.max_difference <= bounds.difference:
        found = f"a probability is off by {checked.max_difference:.2g}, more than {bounds.difference:g}"
    else:
        for name, difference in checked.max_relative_difference.items():
            if not difference <= bounds.others.get(name, math.inf):
                found = f"its {name} differ by {difference:.1%}, more than {bounds.others[name]:.1%}"
    if found:
        raise UserError(f"the export does not answer as the model does: {found}; nothing was written")


def _joined(answers: Sequence[Answers]) -> dict[str, Tensor]:
    """Return the answers of several batches by the names of the outputs; what the model cannot tell is left out."""
    first = answers[0]._asdict()
    return {
        name: torch.cat([getattr(batch, name).cpu() for batch in answers])
        for name, values in first.items()
        if values is not None
    }


def _difference(wanted: Tensor, given: Tensor) -> float:
    return float((wanted - given).abs().max())


def _batches(images: Tensor) -> Iterator[Tensor]:
    sizes, start = iter(BATCHES), 0
    while start < len(images):
        size = next(sizes, FULL_BATCH)
        yield images[start : start + size]
        start += size
