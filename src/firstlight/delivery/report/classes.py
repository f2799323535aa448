"""How well each class is recognized."""

from dataclasses import dataclass

from firstlight.delivery.report.confusions import key_of
from firstlight.delivery.wording import between, percent
from firstlight.escaping import escape
from firstlight.evaluation.evaluate import ClassScores, Evaluation
from firstlight.evaluation.intervals import Estimate

MOST_WORST = 20  # classes that are always shown; the others are behind a click


@dataclass(frozen=True)
class Score:
    """A fraction with its 95% interval, for a table: in words, and the three numbers for its bar."""

    words: str
    interval: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassRow:
    """The scores of a class, what it is most often taken for, and the gallery of what was recognized."""

    name: str
    support: int
    recall: Score
    precision: Score
    f1: str
    taken_for: str
    gallery: str


def class_rows(scores: Evaluation, galleries: set[str]) -> tuple[ClassRow, ...]:
    """Return a row for each class that has test images: the lowest F1 first."""
    taken_for: dict[int, tuple[int, str]] = {}
    for cell in reversed(scores.confusion.mistakes()):
        taken_for[cell.true] = (cell.n, escape(scores.classes[cell.predicted]))
    place = {name: number for number, name in enumerate(scores.classes)}

    def row(one: ClassScores) -> ClassRow:
        number = place[one.name]
        count, other = taken_for.get(number, (0, ""))
        key = key_of(number, number)
        return ClassRow(
            name=escape(one.name),
            support=one.support,
            recall=score_of(one.recall),
            precision=score_of(one.precision),
            f1=f"{one.f1.value:.3f}",
            taken_for=f"{other} ({count:,})" if count else "",
            gallery=key if key in galleries else "",
        )

    return tuple(map(row, scores.worst_classes(len(scores.classes))))


def score_of(estimate: Estimate) -> Score:
    """Return a score as a table shows it; one that rests on nothing is a dash."""
    words = percent(estimate.value) if estimate.n else "–"
    return Score(words, between(estimate) if estimate.n else "", estimate.value, estimate.low, estimate.high)
