"""Scores for a person: the headline, and a table of the classes that did worst."""

from typing import TYPE_CHECKING

from firstlight.cli.layout import columns, counted
from firstlight.escaping import escape_name

if TYPE_CHECKING:
    from firstlight.evaluation.evaluate import Evaluation
    from firstlight.runs.record import TrustRecord

MAX_CLASSES = 10  # in the table; evaluation.json and --json hold them all
MAX_NAME = 32  # characters of a class


def class_table(scores: "Evaluation") -> list[str]:
    """Return the lines of a table of the classes with the lowest F1, worst first, with what they are mistaken for."""
    worst = scores.worst_classes(MAX_CLASSES)
    taken_for: dict[str, tuple[int, str]] = {}
    for cell in scores.confusion.mistakes():
        label, predicted = scores.classes[cell.true], scores.classes[cell.predicted]
        taken_for[label] = max(taken_for.get(label, (0, "")), (cell.n, predicted))
    rows: list[tuple[str, ...]] = [("class", "pictures", "precision", "recall", "F1", "most often mistaken for")]
    for row in worst:
        count, other = taken_for.get(row.name, (0, ""))
        numbers = (f"{value.value:.3f}" for value in (row.precision, row.recall, row.f1))
        mistaken = f"{escape_name(other, MAX_NAME)} ({count:,})" if count else ""
        rows.append((escape_name(row.name, MAX_NAME), f"{row.support:,}", *numbers, mistaken))
    shown = f"the {len(worst)} worst of {counted(len(scores.classes), 'class')}"
    title = shown if MAX_CLASSES <= len(worst) < len(scores.classes) else "by class, worst first"
    return [f"{title}:", *(f"  {line}" for line in columns(rows, right=(1, 2, 3, 4)))]


def trust_lines(scores: "Evaluation", trust: "TrustRecord | None") -> list[str]:
    """Return lines about what the probabilities are worth, and how many answers are sure."""
    lines = [scores.calibration.sentence] if scores.calibration else []
    if trust and trust.set_quantile == 1:
        lines.append("There were too few validation pictures to tell which answers are sure.")
    elif trust and trust.test:
        single, right = trust.test.single, trust.test.single_accuracy
        sure, hits = round(single.value * single.n), round(right.value * right.n)
        of_these = (
            f", and it is the right one for {hits:,} of these ({right.value:.3f} [{right.low:.3f}, {right.high:.3f}])"
        )
        lines.append(
            f"Only one class is likely for {sure:,} of {counted(single.n, 'test picture')}{of_these if sure else ''}; "
            "predict says unsure where more are, or where a picture is unlike anything in training."
        )
    return lines
