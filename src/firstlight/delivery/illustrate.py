"""The pictures of a run: curves, confusion matrix, worst mistakes and one classified picture, as PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from firstlight.delivery import plots
from firstlight.evaluation.evaluate import Evaluation, Mistake
from firstlight.files import atomic_path
from firstlight.models.classifier import Classifier


def illustrate(
    folder: Path,
    *,
    model: Classifier,
    evaluation: Evaluation,
    mistakes: Sequence[Mistake],
    pixels: NDArray[np.uint8],
    example: tuple[int, int],
) -> list[Path]:
    """Draw a finished run into its folder.

    Args:
        folder: the run folder; its `metrics.csv` is read.
        model: what was scored.
        evaluation: its scores.
        mistakes: its worst mistakes.
        pixels: the packed pictures that rows point into, uint8 `[N, H, W, C]`.
        example: row and label of a held-out picture to classify.

    Returns:
        `curves.png`, `confusion.png`, `mistakes.png`, `view_classify.png`, and `held_out.png`, which is the picture
        that was classified, to try `firstlight predict` on.
    """
    row, label = example
    picture = torch.from_numpy(np.array(pixels[row])).permute(2, 0, 1)
    with torch.inference_mode():
        probabilities = model.eval().predict_proba(picture[None].to(model.mean.device))[0]
    return [
        plots.save(plots.training_curves(folder / "metrics.csv"), folder / "curves.png"),
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
        save_picture(pixels[row], folder / "held_out.png"),
    ]


def save_picture(pixels: NDArray[np.uint8], path: Path) -> Path:
    """Write a picture, uint8 `[H, W, C]`, as a lossless PNG, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(temporary, format="png")
    return path
