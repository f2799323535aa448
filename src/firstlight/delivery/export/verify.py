"""`Verified`: whether a pipeline answers the golden pictures rightly; if not, what is probably wrong."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.export.golden import Golden, GoldenImage
from firstlight.errors import DataError, WrongTypeError, kind_of

WANTED = "the exported file, a function that takes the path of a picture and returns its probabilities, or these"
SUM_TOLERANCE = 1e-3  # of the probabilities of a picture
SLACK = 0.25  # of how far answers are from the right ones, they may be from those of a fault that is named as likely


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a pipeline's answer is from what is expected of one golden picture.

    Attributes:
        image: the name of its file.
        agrees: whether every probability is within the tolerance.
        label: the class that the pipeline answers.
        expected: the class that it should answer.
        difference: the largest of a probability.
    """

    image: str
    agrees: bool
    label: str
    expected: str
    difference: float


@dataclass(frozen=True, slots=True)
class Verified:
    """What a pipeline makes of the golden pictures.

    Attributes:
        ok: whether it agrees on all of them.
        images: one difference for each.
        tolerance: of a probability.
        cause: what is likely wrong, in words; None if nothing is, or if it is not known.
    """

    ok: bool
    images: tuple[Difference, ...]
    tolerance: float
    cause: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the same in JSON's types."""
        images = [
            {name: getattr(one, name) for name in ("image", "agrees", "label", "expected", "difference")}
            for one in self.images
        ]
        return {"ok": self.ok, "images": images, "tolerance": self.tolerance, "cause": self.cause}

    def __str__(self) -> str:
        agree = sum(one.agrees for one in self.images)
        lines = [f"{agree} of {len(self.images)} golden pictures agree within {self.tolerance:g}"]
        for one in self.images:
            said = one.label if one.label == one.expected else f"{one.label} instead of {one.expected}"
            lines.append(f"  {one.image:<16}  {'agrees' if one.agrees else 'differs'} by {one.difference:.4f}: {said}")
        if not self.ok:
            lines.append(
                f"likely cause: {self.cause}"
                if self.cause
                else "none of the usual mistakes explains this; read preprocess.md step by step"
            )
        return "\n".join(lines)


def verify(pipeline: Any, golden: Golden) -> Verified:
    """Return whether a pipeline answers the golden pictures as it should.

    Args:
        pipeline: a function that takes the path of a picture and returns its probabilities, K numbers or a table by
            class; or these for every picture, as a table by its name, or as rows in the order of `golden.images`.
        golden: of the export that the pipeline runs.

    Raises:
        WrongTypeError: if the pipeline is anything else.
        DataError: if it has no answer for a picture, or not one number for each class.
    """
    answers = [_row(found, one, golden) for one, found in zip(golden.images, _found(pipeline, golden), strict=True)]
    expected = [one.probabilities for one in golden.images]
    differences = tuple(
        Difference(
            one.image,
            agrees=(off := _off(answer, one.probabilities)) <= golden.tolerance,
            label=golden.classes[int(np.nan_to_num(answer, nan=-np.inf).argmax())],
            expected=one.label,
            difference=off,
        )
        for one, answer in zip(golden.images, answers, strict=True)
    )
    ok = all(one.agrees for one in differences)
    return Verified(ok, differences, golden.tolerance, None if ok else _cause(answers, expected, golden))


def _cause(answers: list[NDArray[np.float64]], expected: list[NDArray[np.float64]], golden: Golden) -> str | None:
    """Return what is likely wrong with answers of which some differ, or None."""
    sums = [float(answer.sum()) for answer in answers]
    if strange := [one for one in sums if not abs(one - 1) <= SUM_TOLERANCE]:
        return f"these are not probabilities: they sum to {strange[0]:.3g}; take the output `probabilities`"
    if (fault := _nearest_fault(answers, golden.images, golden.tolerance, SLACK)) is not None:
        return fault
    if _most_off(sorted(answers, key=tuple), sorted(expected, key=tuple)) <= golden.tolerance:
        return "the pictures are in another order"
    if _most_off([np.sort(one) for one in answers], [np.sort(one) for one in expected]) <= golden.tolerance:
        return "the classes are in another order"
    pairs = list(zip(answers, golden.images, strict=True))
    differ = [(answer, one) for answer, one in pairs if _off(answer, one.probabilities) > golden.tolerance]
    several = [_nearest_fault([answer], [one], golden.tolerance) for answer, one in differ]
    if all(several):
        return "; ".join(dict.fromkeys(fault for fault in several if fault))
    return f"{differ[0][1].checks}: only {differ[0][1].image} differs" if len(differ) == 1 else None


def _nearest_fault(
    answers: Sequence[NDArray[np.float64]], images: Sequence[GoldenImage], tolerance: float, slack: float = 0.0
) -> str | None:
    """Return the one fault that explains all of these answers, or None.

    Args:
        answers: one for each image.
        images: the golden ones.
        tolerance: how far a probability may be from the one that a fault leads to.
        slack: the same, as a fraction of how far the answer is from the right one, where that is more.
    """
    nearest, least = None, math.inf
    allowed = [
        max(tolerance, slack * _off(answer, one.probabilities)) for answer, one in zip(answers, images, strict=True)
    ]
    for fault in dict.fromkeys(words for one in images for words in one.if_wrong):
        predicted = [one.if_wrong.get(fault, one.probabilities) for one in images]
        off = [_off(answer, row) for answer, row in zip(answers, predicted, strict=True)]
        if max(off) < least and all(one <= most for one, most in zip(off, allowed, strict=True)):
            nearest, least = fault, max(off)
    return nearest


def _found(pipeline: Any, golden: Golden) -> list[Any]:
    """Return the answer to each golden picture, whatever it is."""
    if callable(pipeline):
        return [pipeline(golden.folder / one.image) for one in golden.images]
    if isinstance(pipeline, Mapping):
        by_name = {Path(path).name: found for path, found in pipeline.items()}
        if missing := [one.image for one in golden.images if one.image not in by_name]:
            raise DataError(f"there is no answer for {missing[0]}; give one for each golden picture, by its name")
        return [by_name[one.image] for one in golden.images]
    if not isinstance(pipeline, Sequence | np.ndarray) and not hasattr(pipeline, "__array__"):
        raise WrongTypeError(f"file is {kind_of(pipeline)}; give {WANTED}")
    if len(pipeline) != len(golden.images):
        names = ", ".join(one.image for one in golden.images)
        raise DataError(f"there are {len(pipeline)} answers, not {len(golden.images)}; give one for each of {names}")
    return list(pipeline)


def _row(found: Any, image: GoldenImage, golden: Golden) -> NDArray[np.float64]:
    if isinstance(found, Mapping) and found.keys() == set(golden.classes):
        found = [found[name] for name in golden.classes]
    try:
        row = np.asarray(found, np.float64).squeeze()
    except (ValueError, TypeError):
        raise WrongTypeError(f"the answer for {image.image} is {kind_of(found)}; give its probabilities") from None
    if row.shape != (len(golden.classes),):
        shape = " x ".join(map(str, row.shape)) or "1"
        raise DataError(
            f"the answer for {image.image} has {shape} numbers, but there are {len(golden.classes)} classes"
        )
    return row


def _off(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.nan_to_num(np.abs(one - other), nan=np.inf).max())


def _most_off(some: Sequence[NDArray[np.float64]], others: Sequence[NDArray[np.float64]]) -> float:
    return max(_off(one, other) for one, other in zip(some, others, strict=True))
