"""What Python and the command line share that takes several rooms: a run, and then its images."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.images import decode, resize_image
from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.delivery.illustrate import Curve, illustrate
from firstlight.delivery.ladder_plots import Rung
from firstlight.evaluation.intervals import Estimate
from firstlight.resize import parse_resize
from firstlight.training import train as road
from firstlight.training.recipe import Recipe
from firstlight.training.run import Run


def train(
    data: Samples | str | Path | tuple[Any, Any], recipe: Recipe | None = None, out: Path | str | None = None
) -> Run:
    """Train a classifier as `training.fit.fit` does, and draw its images into the run folder.

    Args:
        data: from `load_data`, or what `load_data` takes.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.

    Raises:
        UserError: if the data or the recipe cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    recipe = recipe or Recipe()
    samples = data if isinstance(data, Samples) else load_data(data, data_root=recipe.data_root)
    run = road.train(samples, recipe, out)
    if run.test:
        row = int(run.data.split.test[0])
        illustrate(
            run.folder,
            model=run.model,
            evaluation=run.test,
            mistakes=run.mistakes,
            pixels=run.data.store.pixels,
            example=(row, int(samples.labels[row])),
            held_out=before_the_cut(run, row),
            rungs=rungs_of(run),
            curve=curve_of(run),
        )
    return run


def rungs_of(run: Run) -> list[Rung]:
    """Give the rungs of the ladder as they are drawn; none if there was no backbone."""
    if run.transfer is None:
        return []
    kept = run.transfer.strategy
    return [(rung.name, *interval(rung.accuracy), rung.seconds, rung.name == kept) for rung in run.transfer.ladder]


def curve_of(run: Run) -> Curve | None:
    """Give the learning curve as it is drawn, if one was asked for."""
    if run.transfer is None or run.transfer.curve is None or not run.recipe.learning_curve:
        return None
    curve = run.transfer.curve
    return [(point.images, *interval(point.accuracy)) for point in curve.points], curve.forecast


def interval(found: Estimate) -> tuple[float, float, float]:
    """Give a number and the ends of its interval."""
    return found.value, found.low, found.high


def before_the_cut(run: Run, row: int) -> NDArray[np.uint8] | None:
    """Give an image with the rim that was cut off around what was packed; None if nothing was cut off.

    It is no larger than needed, and cut again it is what was packed: a square image to the last bit.
    """
    way, kept = parse_resize(run.model.resize)
    if kept == 1:
        return None
    samples, packed = run.data.samples, run.data.store.pixels[row]
    found = samples.images.read(row)
    if not isinstance(found, np.ndarray):
        found = decode(found, name=samples.names[row], max_pixels=run.recipe.max_pixels).pixels
    height, width, channels = packed.shape
    whole = np.array(resize_image(found, (channels, round(height / kept), round(width / kept)), way))
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    whole[top : top + height, left : left + width] = packed
    return whole
