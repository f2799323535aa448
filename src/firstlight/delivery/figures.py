"""The figures of a run as PNG files, drawn only from its run folder."""

from pathlib import Path

import torch

from firstlight.delivery import ladder_plots, plots
from firstlight.evaluation.evaluate import Evaluation
from firstlight.evaluation.mistakes import MISTAKES_SHOWN, worst_mistakes
from firstlight.progress import phase
from firstlight.runs.folder import METRICS_FILE, read_metrics
from firstlight.runs.outputs import outputs_file, read_outputs, read_thumbnails
from firstlight.runs.record import TransferRecord, read_record

FEWEST_CURVE_POINTS = 3  # every run with a backbone measures two; a curve that was asked for has more


@phase("drawing figures")
def draw_run(folder: Path) -> list[Path]:
    """Draw a run into its folder, as far as there is something to draw.

    Args:
        folder: the run folder, with its record, `metrics.csv`, and outputs and thumbnails of the test split. A run of
            an older version has no outputs; the figures that need them are then left out.

    Returns:
        the files: `confusion.png`, `mistakes.png` and `view_classify.png` of a run that was scored on its test split;
        `curves.png` if it has epochs; `ladder.png` and `learning_curve.png` if it has these.

    Raises:
        RunError: if the folder holds no run, or one of these files is damaged.
    """
    record = read_record(folder)
    drawn = _scores(folder, record.test) if record.test else []
    if any(row["epoch"] > 0 for row in read_metrics(folder)):
        drawn.append(plots.save_figure(plots.training_curves(folder / METRICS_FILE), folder / "curves.png"))
    if record.transfer:
        drawn += _transfer(folder, record.transfer)
    return drawn


def _scores(folder: Path, test: Evaluation) -> list[Path]:
    matrix = plots.confusion_matrix(test.confusion, test.classes)
    drawn = [plots.save_figure(matrix, folder / "confusion.png")]
    if not outputs_file(folder, "test").is_file():
        return drawn
    outputs, thumbnails = read_outputs(folder, "test"), read_thumbnails(folder)
    logits, labels = torch.from_numpy(outputs.logits), torch.from_numpy(outputs.labels)
    worst = worst_mistakes(logits, labels, count=MISTAKES_SHOWN, temperature=test.temperature)
    shown = [mistake for mistake in worst if outputs.names[mistake.row] in thumbnails]
    grid = plots.mistakes_grid(
        [thumbnails[outputs.names[mistake.row]] for mistake in shown],
        [mistake.label for mistake in shown],
        [mistake.predicted for mistake in shown],
        [mistake.probability for mistake in shown],
        test.classes,
    )
    drawn.append(plots.save_figure(grid, folder / "mistakes.png"))
    if (example := thumbnails.get(outputs.names[0])) is not None:
        probabilities = (logits[0].double() / test.temperature).softmax(dim=0)
        pair = plots.image_with_probabilities(example, probabilities, test.classes, label=int(labels[0]))
        drawn.append(plots.save_figure(pair, folder / "view_classify.png"))
    return drawn


def _transfer(folder: Path, transfer: TransferRecord) -> list[Path]:
    drawn = []
    if transfer.ladder:
        figure = ladder_plots.ladder(transfer.ladder, transfer.strategy)
        drawn.append(plots.save_figure(figure, folder / "ladder.png"))
    curve = transfer.learning_curve
    if curve and len(curve.points) >= FEWEST_CURVE_POINTS:
        drawn.append(plots.save_figure(ladder_plots.learning_curve(curve), folder / "learning_curve.png"))
    return drawn
