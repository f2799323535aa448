"""What an evaluation or a comparison writes to disk on request: answers for each image as CSV, and figures."""

from pathlib import Path

import torch

from firstlight.delivery import comparison_plot, plots
from firstlight.delivery.confusion_plot import confusion_matrix
from firstlight.delivery.evaluate import Score
from firstlight.delivery.predict import csv_for_people
from firstlight.escaping import escape_name
from firstlight.evaluation.comparison import Comparison
from firstlight.evaluation.softmax import Softmax
from firstlight.progress import phase


def write_answers(score: Score, path: Path) -> None:
    """Write `image,label,predicted,probability,correct,probability_of_label`, one row for each image.

    Raises:
        DataError: if the file cannot be written.
    """
    outputs, classes = score.outputs, score.evaluation.classes
    softmax = Softmax.of(torch.from_numpy(outputs.logits), score.evaluation.temperature)
    predicted = outputs.logits.argmax(axis=1)
    columns = (predicted, softmax.confidence, softmax.probability(torch.from_numpy(outputs.labels)))
    with csv_for_people(path) as write_row:
        write_row(("image", "label", "predicted", "probability", "correct", "probability_of_label"))
        rows = zip(outputs.names, outputs.labels, *(column.tolist() for column in columns), strict=True)
        for name, label, guess, confidence, left in rows:
            write_row((name, classes[label], classes[guess], confidence, "true" if guess == label else "false", left))


def write_disagreements(found: Comparison, path: Path) -> None:
    """Write `image,label,a,b,right`, one row for each image that only one of two models got right.

    Raises:
        DataError: if the file cannot be written.
    """
    with csv_for_people(path) as write_row:
        write_row(("image", "label", "a", "b", "right"))
        for row in found.disagreements:
            write_row((*row, "a" if row.a == row.label else "b"))


@phase("drawing figures")
def draw_comparison(found: Comparison, folder: Path) -> Path:
    """Draw `comparison.png` into a folder, which is made, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    models = "\n".join(f"{letter}: {escape_name(name)}" for letter, name in zip("ab", found.models, strict=True))
    drawn = comparison_plot.differences(found, title=models)
    return plots.save_figure(drawn, folder / "comparison.png", description=found.headline)


@phase("drawing figures")
def draw_score(score: Score, folder: Path, scored: str) -> list[Path]:
    """Draw `confusion.png` and `mistakes.png` into a folder, which is made, and return the files.

    Args:
        score: from `evaluate_model`.
        folder: where to draw.
        scored: which model was scored on what, for the titles.
    """
    folder.mkdir(parents=True, exist_ok=True)
    evaluation, worst = score.evaluation, score.mistakes
    scored += f"\naccuracy {evaluation.accuracy}"
    matrix = confusion_matrix(evaluation.confusion, evaluation.classes, title=f"Confusion matrix of {scored}")
    grid = plots.mistakes_grid(
        score.mistake_images,
        [mistake.label for mistake in worst],
        [mistake.predicted for mistake in worst],
        [mistake.probability for mistake in worst],
        evaluation.classes,
        names=[score.outputs.names[mistake.row] for mistake in worst],
        title=f"The most confident mistakes of {scored}",
    )
    return [
        plots.save_figure(matrix, folder / "confusion.png"),
        plots.save_figure(grid, folder / "mistakes.png"),
    ]
