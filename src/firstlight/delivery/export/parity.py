"""The parity gate: an export is written only if it gives the model's answers on real images."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from firstlight.errors import ModelFileError, UserError
from firstlight.evaluation.intervals import Estimate, proportion
from firstlight.inference.engines.answers import Answers, Engine
from firstlight.progress import progress

LEAST = 64  # images
BATCHES = (1, 3)  # the first batches; whatever works for these and for full ones works for any
FULL_BATCH = 32
OTHERS = ("logits", "features", "strangeness")  # outputs besides the probabilities
NOTHING = "nothing was written"
BROKEN = f"its weights are broken, or too large for this number type; {NOTHING}"
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
        accuracy: of the export, on those images whose classes are known; None if there are none.
        model_accuracy: of the model, on the same images.
        refused: the fraction of the images that are strangers to the export; None if the model cannot tell.
        model_refused: the same for the model.
        learned_from: how many other images the ranges of the numbers were learned from.
        made_by: how the export was made, where there are several ways.
    """

    n: int
    top1_agreement: float
    max_difference: float
    max_relative_difference: Mapping[str, float]
    accuracy: float | None = None
    model_accuracy: Estimate | None = None
    refused: float | None = None
    model_refused: float | None = None
    learned_from: int | None = None
    made_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["max_relative_difference"] = dict(self.max_relative_difference)
        values["model_accuracy"] = self.model_accuracy and asdict(self.model_accuracy)
        return {name: value for name, value in values.items() if value is not None}


def compared(
    reference: Engine,
    candidate: Engine,
    images: Tensor,
    *,
    labels: Tensor | None = None,
    threshold: float | None = None,
) -> Checked:
    """Return how well two engines agree about images; batches are 1, 3 and 32 images large.

    Args:
        reference: the model.
        candidate: the export.
        images: uint8 `[N, C, H, W]`.
        labels: the classes of the images, int64 `[N]`, -1 where it is not known; None: accuracies are not computed.
        threshold: of strangeness; None: strangers are not counted.

    Raises:
        ModelFileError: if the model gives no finite number for an image.
        UserError: if the export gives none.
    """
    expected, found = [], []
    with progress("checking the export", len(images), "pictures") as advance:
        for batch in _batches(images):
            expected.append(reference(batch))
            found.append(candidate(batch))
            advance(len(batch))
    wanted = _joined(expected)
    given = {name: values for name, values in _joined(found).items() if name in wanted}
    if broken := _not_finite(wanted):
        raise ModelFileError(f"the model gives no finite number for {broken:,} of {len(images):,} pictures; {BROKEN}")
    if broken := _not_finite(given):
        raise UserError(f"the export gives no finite number for {broken:,} of {len(images):,} pictures; {NOTHING}")
    same = wanted["probabilities"].argmax(dim=1) == given["probabilities"].argmax(dim=1)
    return Checked(
        n=len(images),
        top1_agreement=float(same.double().mean()),
        max_difference=_difference(wanted["probabilities"], given["probabilities"]),
        max_relative_difference={
            name: _difference(wanted[name], given[name]) / max(float(wanted[name].abs().max()), LEAST_SCALE)
            for name in OTHERS
            if name in given
        },
        **_scores(wanted, given, labels, threshold),
    )


def _scores(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], labels: Tensor | None, threshold: float | None
) -> dict[str, Any]:
    """Return the accuracies, and the fractions of strangers, as far as they can be known."""
    found: dict[str, Any] = {}
    if labels is not None and bool((is_known := labels >= 0).any()):
        right, model_right = ((said["probabilities"].argmax(dim=1) == labels)[is_known] for said in (given, wanted))
        found["accuracy"] = float(right.double().mean())
        found["model_accuracy"] = proportion(int(model_right.sum()), len(model_right))
    if threshold is not None and "strangeness" in given:
        found["refused"], found["model_refused"] = (
            float((said["strangeness"] > threshold).double().mean()) for said in (given, wanted)
        )
    return found


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
    elif _is_less_accurate(checked):
        found = f"its accuracy of {checked.accuracy:.3f} is below the model's {checked.model_accuracy}"
    else:
        for name, difference in checked.max_relative_difference.items():
            if not difference <= bounds.others.get(name, math.inf):
                found = f"its {name} differ by {difference:.1%}, more than {bounds.others[name]:.1%}"
    if found:
        raise UserError(f"the export does not answer as the model does: {found}; {NOTHING}")


def _is_less_accurate(checked: Checked) -> bool:
    """Return whether an export is less accurate than chance explains."""
    return (
        checked.accuracy is not None
        and checked.model_accuracy is not None
        and (checked.accuracy < checked.model_accuracy.low)
    )


def _joined(answers: Sequence[Answers]) -> dict[str, Tensor]:
    """Return the answers of several batches by the names of the outputs; what the model cannot tell is left out."""
    first = answers[0]._asdict()
    return {
        name: torch.cat([getattr(batch, name).cpu() for batch in answers])
        for name, values in first.items()
        if values is not None
    }


def _not_finite(columns: Mapping[str, Tensor]) -> int:
    """Return for how many images a number is not finite."""
    finite = [values.isfinite().reshape(len(values), -1).all(dim=1) for values in columns.values()]
    return int((~torch.stack(finite).all(dim=0)).sum())


def _difference(wanted: Tensor, given: Tensor) -> float:
    return float((wanted - given).abs().max())


def _batches(images: Tensor) -> Iterator[Tensor]:
    sizes, start = iter(BATCHES), 0
    while start < len(images):
        size = next(sizes, FULL_BATCH)
        yield images[start : start + size]
        start += size
