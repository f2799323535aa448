"""The images of a run: curves, confusion matrix, worst mistakes and one classified image, as PNG."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from firstlight.delivery import ladder_plots, plots
from firstlight.evaluation.evaluate import Evaluation, Mistake
from firstlight.files import atomic_path
from firstlight.models.classifier import Classifier

Curve = tuple[Sequence[ladder_plots.Point], Sequence[tuple[int, float]]]


def illustrate(
    folder: Path,
    *,
    model: Classifier,
    evaluation: Evaluation,
    mistakes: Sequence[Mistake],
    pixels: NDArray[np.uint8],
    example: tuple[int, int],
    held_out: NDArray[np.uint8] | None = None,
    rungs: Sequence[ladder_plots.Rung] = (),
    curve: Curve | None = None,
) -> list[Path]:
    """Draw a finished run into its folder.

    Args:
        folder: the run folder; its `metrics.csv` is read.
        model: what was scored.
        evaluation: its scores.
        mistakes: its worst mistakes.
        pixels: the packed images that rows point into, uint8 `[N, H, W, C]`.
        example: row and label of a held-out image to classify.
        held_out: that image, uint8 `[H, W, C]`, such that it is cut to what was packed; if None, what was packed.
        rungs: of the ladder, as `ladder_plots.ladder` takes them, where one was climbed.
        curve: points and forecast, as `ladder_plots.learning_curve` takes them, where one was drawn.

    Returns:
        `confusion.png`, `mistakes.png`, `view_classify.png`, and `held_out.png`, which is the image that was
        classified, to try `firstlight predict` on; and where there is something to draw `curves.png`, `ladder.png`
        and `learning_curve.png`.
    """
    row, label = example
    image = torch.from_numpy(np.array(pixels[row])).permute(2, 0, 1)
    with torch.inference_mode():
        probabilities = model.eval().predict_proba(image[None].to(model.mean.device))[0]
    drawn = [
        plots.save(plots.confusion_matrix(evaluation.confusion, evaluation.classes), folder / "confusion.png"),
        plots.save(
            plots.mistakes_grid(
                [pixels[mistake.row] for mistake in mistakes],
                [mistake.label for mistake in mistakes],
                [mistake.predicted for mistake in mistakes],
                [mistake.probability for mistake in mistakes],
                evaluation.classes,
            ),
            folder / "mistakes.png",
        ),
        plots.save(
            plots.view_classify(pixels[row], probabilities, model.classes, label=label), folder / "view_classify.png"
        ),
        save_image(pixels[row] if held_out is None else held_out, folder / "held_out.png"),
    ]
    if _epochs(folder / "metrics.csv"):
        drawn.append(plots.save(plots.training_curves(folder / "metrics.csv"), folder / "curves.png"))
    if rungs:
        drawn.append(plots.save(ladder_plots.ladder(rungs), folder / "ladder.png"))
    if curve:
        drawn.append(plots.save(ladder_plots.learning_curve(*curve), folder / "learning_curve.png"))
    return drawn


def _epochs(metrics: Path) -> int:
    """Count the epochs; row 0, if there is one, is what stood before the first."""
    with metrics.open(encoding="utf-8", newline="") as file:
        return sum(row["epoch"] != "0" for row in csv.DictReader(file))


def save_image(pixels: NDArray[np.uint8], path: Path) -> Path:
    """Write an image, uint8 `[H, W, C]`, as a lossless PNG, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(temporary, format="png")
    return path
