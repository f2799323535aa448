"""The figures of a run as PNG files, drawn only from its run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from firstlight.delivery import confusion_plot, curves, ladder_plots, plots
from firstlight.delivery.names import shorten
from firstlight.delivery.style import DARK, LIGHT, on_page
from firstlight.evaluation.evaluate import Evaluation
from firstlight.evaluation.mistakes import MISTAKES_SHOWN, worst_mistakes
from firstlight.progress import phase
from firstlight.runs.folder import METRICS_FILE, read_metrics
from firstlight.runs.outputs import outputs_file, read_outputs, read_thumbnails
from firstlight.runs.record import Record, TransferRecord, read_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

FEWEST_CURVE_POINTS = 3  # every run with a backbone measures two; a curve that was asked for has more
RUN_NAME_LENGTH, IMAGE_NAME_LENGTH = 40, 60  # characters, in titles


@phase("drawing figures")
def draw_run(folder: Path, *, dark: bool = False) -> list[Path]:
    """Draw the figures of a run into its folder, as far as it has the data for them.

    Args:
        folder: the run folder, with its record, `metrics.csv`, and outputs and thumbnails of the test split. A run of
            an older version has no outputs; the figures that need them are then left out.
        dark: for dark pages; the files are then `confusion-dark.png` and so on.

    Returns:
        the files: `confusion.png`, `mistakes.png` and `view_classify.png` of a run that was scored on its test split;
        `curves.png` if it has epochs; `ladder.png` and `learning_curve.png` if it has these.

    Raises:
        RunError: if the folder holds no run, or one of these files is damaged.
    """
    with on_page(DARK if dark else LIGHT):
        return _Drawing(folder, read_record(folder), "-dark" if dark else "").all()


class _Drawing:
    """The figures of one run."""

    def __init__(self, folder: Path, record: Record, suffix: str) -> None:
        self.folder = folder
        self.record = record
        self.suffix = suffix
        self.run = shorten(folder.resolve().name, RUN_NAME_LENGTH)

    def all(self) -> list[Path]:
        """Draw all figures, and return the files."""
        drawn = self.scores(self.record.test) if self.record.test else []
        if any(row["epoch"] > 0 for row in read_metrics(self.folder)):
            title = self.title(f"Training of {self.run}", "validation", self.record.valid)
            phases = _phases(self.record.transfer)
            axes = curves.training_curves(self.folder / METRICS_FILE, phases=phases, title=title)
            drawn.append(self.save("curves", axes))
        if self.record.transfer:
            drawn += self.transfer(self.record.transfer)
        return drawn

    def scores(self, test: Evaluation) -> list[Path]:
        """Draw what the test split showed."""
        most, size = confusion_plot.MOST_CLASSES, len(test.classes)
        what = "Confusion matrix" if size <= most else f"The {most} most confused of {size:,} classes"
        title = self.title(f"{what} of {self.run}", "test", test)
        matrix = confusion_plot.confusion_matrix(test.confusion, test.classes, title=title)
        drawn = [self.save("confusion", matrix)]
        if not outputs_file(self.folder, "test").is_file():
            return drawn
        outputs, thumbnails = read_outputs(self.folder, "test"), read_thumbnails(self.folder)
        logits, labels = torch.from_numpy(outputs.logits), torch.from_numpy(outputs.labels)
        worst = worst_mistakes(logits, labels, count=MISTAKES_SHOWN, temperature=test.temperature)
        shown = [mistake for mistake in worst if outputs.names[mistake.row] in thumbnails]
        wrong = sum(cell.n for cell in test.confusion.mistakes())
        words = f"The {len(shown)} most confident of {wrong:,} mistakes" if len(shown) < wrong else "All mistakes"
        grid = plots.mistakes_grid(
            [thumbnails[outputs.names[mistake.row]] for mistake in shown],
            [mistake.label for mistake in shown],
            [mistake.predicted for mistake in shown],
            [mistake.probability for mistake in shown],
            test.classes,
            names=[outputs.names[mistake.row] for mistake in shown],
            title=self.title(f"{words} of {self.run}", "test", test),
        )
        drawn.append(self.save("mistakes", grid))
        if (example := thumbnails.get(outputs.names[0])) is not None:
            probabilities = (logits[0].double() / test.temperature).softmax(dim=0)
            name = shorten(outputs.names[0], IMAGE_NAME_LENGTH)
            title = self.title(f"{name}, classified by {self.run}", "test", test)
            pair = plots.image_with_probabilities(
                example, probabilities, test.classes, label=int(labels[0]), title=title
            )
            drawn.append(self.save("view_classify", pair))
        return drawn

    def transfer(self, transfer: TransferRecord) -> list[Path]:
        """Draw what transfer learning tried, on the validation split."""
        drawn = []
        if transfer.ladder:
            title = self.title(f"What was tried for {self.run}", "validation", self.record.valid)
            figure = ladder_plots.ladder(transfer.ladder, transfer.strategy, title=title)
            drawn.append(self.save("ladder", figure))
        curve = transfer.learning_curve
        if curve and len(curve.points) >= FEWEST_CURVE_POINTS:
            title = self.title(f"Learning curve of {self.run}", "validation", self.record.valid)
            drawn.append(self.save("learning_curve", ladder_plots.learning_curve(curve, title=title)))
        return drawn

    def title(self, what: str, split: str, scores: Evaluation) -> str:
        """Return a title of two lines: what is shown and of which run, then the split, its size, and the score."""
        accuracy = scores.accuracy
        interval = f"{accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
        return f"{what}\n{split} split, n = {scores.n:,}, accuracy {interval}"

    def save(self, name: str, axes: "Axes | tuple[Axes, Axes] | NDArray[Any]") -> Path:
        """Write a figure into the run folder."""
        return plots.save_figure(axes, self.folder / f"{name}{self.suffix}.png")


def _phases(transfer: TransferRecord | None) -> list[tuple[str, int]]:
    """Return what was trained, one after the other, each with its last epoch; empty if that is not recorded."""
    if transfer is None:
        return []
    phases, last = [("linear head", 0)], 0
    for rung in transfer.ladder:
        if rung.epochs:
            last += rung.epochs
            phases.append((rung.name, last))
    return phases if len(phases) > 1 else []
