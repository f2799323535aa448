"""Whether a model is unsure about an image, and why, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from firstlight.errors import RecipeError
from firstlight.inference.engines.answers import Answers
from firstlight.models.classifier import Classifier
from firstlight.models.trust import Trust

Sets = Literal["overall", "by-class"]
STRANGER = "unlike anything in training"
NAMED = 3  # of the classes that remain possible, the most that a reason names
CANNOT_TELL = (
    "this model cannot tell when it is unsure: its file has no trust block, as older versions wrote it; train again "
    "to get one"
)


class Verdict(NamedTuple):
    """Whether a model is unsure about an image, and why; see `prediction.Prediction`."""

    unsure: bool | None = None
    reason: str | None = None
    set: tuple[str, ...] | None = None
    strangeness: float | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """Which answers of a model are unsure, and why.

    Attributes:
        classes: the K names.
        trust: of the model; None if it cannot tell.
        accept: the least probability of an accepted answer; None if one is accepted when its set holds one class.
        by_class: whether sets cover every class as often as promised, instead of all images together.
    """

    classes: tuple[str, ...]
    trust: Trust | None
    accept: float | None = None
    by_class: bool = False

    @classmethod
    def of(cls, model: Classifier, accept: float | None = None, sets: Sets = "overall") -> "Doubt":
        """Return it for a model, with its tensors where the model is.

        Raises:
            RecipeError: if `accept` is no probability, `sets` is none of its words, or the model cannot tell.
        """
        if accept is not None and (type(accept) not in (int, float) or not 0 <= accept <= 1):
            raise RecipeError("give a probability from 0 to 1", field="accept", value=accept)
        if sets not in ("overall", "by-class"):
            raise RecipeError("choose overall or by-class", field="sets", value=sets)
        if model.trust is None:
            for field, value in (("accept", accept), ("sets", sets if sets == "by-class" else None)):
                if value is not None:
                    raise RecipeError(CANNOT_TELL, field=field, value=value)
            return cls(model.classes, None)
        if sets == "by-class" and model.trust.class_quantiles is None:
            reason = "this model has only learned sets for all pictures together; leave it out, or train again"
            raise RecipeError(reason, field="sets", value=sets)
        trust = model.trust.to(model.mean.device)
        return cls(model.classes, trust, trust.accept if accept is None else accept, sets == "by-class")

    def verdicts(self, answers: Answers) -> list[Verdict]:
        """Return one verdict for each image that the model has answered."""
        probabilities = answers.probabilities
        if self.trust is None:
            return [Verdict()] * len(probabilities)
        possible = self._names(probabilities, self.trust.sets(probabilities, by_class=self.by_class))
        highest = probabilities.amax(dim=1).tolist()
        strange, limit = self.trust.strangeness, 0.0
        scores: list[float | None] = [None] * len(probabilities)
        if strange is not None and answers.strangeness is not None:
            scores, limit = answers.strangeness.tolist(), strange.threshold
        verdicts = []
        for probability, names, score in zip(highest, possible, scores, strict=True):
            is_stranger = score is not None and score > limit
            reason = STRANGER if is_stranger else self._reason(probability, names)
            verdicts.append(Verdict(reason is not None, reason, names, score))
        return verdicts

    def _names(self, probabilities: Tensor, inside: Tensor) -> list[tuple[str, ...]]:
        """Return the names of the classes in each set, the most probable first."""
        sizes = inside.sum(dim=1)
        ranked = torch.where(inside, probabilities, -1).topk(int(sizes.max()), dim=1).indices.tolist()
        return [
            tuple(self.classes[index] for index in row[:size]) for row, size in zip(ranked, sizes.tolist(), strict=True)
        ]

    def _reason(self, probability: float, names: Sequence[str]) -> str | None:
        """Return why an answer is not accepted, or None if it is."""
        if self.accept is None:
            return remaining_words(names) if len(names) > 1 else None
        if probability >= self.accept:
            return None
        if len(names) > 1:
            return remaining_words(names)
        return f"its probability of {_below(probability, self.accept)} is below {self.accept:g}"


def remaining_words(names: Sequence[str]) -> str:
    """Return a reason that names the classes that remain possible, or says how many there are.

    >>> remaining_words(["dress", "skirt"])
    'between dress and skirt'
    """
    if len(names) == 2:
        return f"between {names[0]} and {names[1]}"
    if len(names) <= NAMED:
        return f"could be {', '.join(names[:-1])}, or {names[-1]}"
    return f"could be any of {len(names):,} classes"


def _below(probability: float, limit: float) -> str:
    """Return a probability with as many digits as show that it is below the limit."""
    digits = 2
    while digits < 9 and float(f"{probability:.{digits}f}") >= limit:
        digits += 1
    return f"{probability:.{digits}f}"
