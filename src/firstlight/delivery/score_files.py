"""What an evaluation leaves on disk if it is asked to: the answer for each image as CSV, and figures."""

from pathlib import Path

import torch

from firstlight.delivery import plots
from firstlight.delivery.evaluate import Score
from firstlight.delivery.predict import csv_for_people
from firstlight.progress import phase


def write_answers(score: Score, path: Path) -> None:
    """Write `image,label,predicted,probability,correct,probability_of_label`, one row for each image.

    Raises:
        DataError: if the file cannot be written.
    """
    outputs, classes = score.outputs, score.evaluation.classes
    probabilities = (torch.from_numpy(outputs.logits).double() / score.evaluation.temperature).softmax(dim=1)
    predicted = outputs.logits.argmax(axis=1)
    with csv_for_people(path) as write_row:
        write_row(("image", "label", "predicted", "probability", "correct", "probability_of_label"))
        for name, label, guess, row in zip(outputs.names, outputs.labels, predicted, probabilities, strict=True):
            right = "true" if guess == label else "false"
            write_row((name, classes[label], classes[guess], row[guess].item(), right, row[label].item()))


@phase("drawing figures")
def draw_score(score: Score, folder: Path) -> list[Path]:
    """Draw `confusion.png` and `mistakes.png` into a folder, which is made, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    evaluation, worst = score.evaluation, score.mistakes
    matrix = plots.confusion_matrix(evaluation.confusion, evaluation.classes)
    grid = plots.mistakes_grid(
        score.mistake_images,
        [mistake.label for mistake in worst],
        [mistake.predicted for mistake in worst],
        [mistake.probability for mistake in worst],
        evaluation.classes,
    )
    return [
        plots.save_figure(matrix, folder / "confusion.png"),
        plots.save_figure(grid, folder / "mistakes.png"),
    ]
