"""Train a network by gradient descent, recording every epoch, and return the best model on validation."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from firstlight.data.dataset import Dataset
from firstlight.errors import TrainingError
from firstlight.models.classifier import Classifier
from firstlight.runtime.distributed import world
from firstlight.training.checkpoints import Checkpoints
from firstlight.training.loop import in_parts, train_epochs
from firstlight.training.prepare import training_loader
from firstlight.training.recipe import Recipe
from firstlight.training.recorder import record, record_again
from firstlight.training.state import Learned, TrainState


def learn_by_gradient(
    folder: Path,
    classifier: Classifier,
    data: Dataset,
    recipe: Recipe,
    earlier: Learned | None = None,
    *,
    checkpoints: Checkpoints | None = None,
) -> Learned:
    """Train a classifier, record every epoch, and keep the best one on validation.

    Where the run folder holds a state of this part of the run, training continues from it, to the same bits.

    Args:
        folder: the run folder; `metrics.csv`, `model.safetensors` and `tensorboard/` are written.
        classifier: on its device; its weights change.
        data: the images to train on, and to choose the best epoch by.
        recipe: complete.
        earlier: what was trained before in the same run: its rows come first, and its model stays the best until
            another one is better.
        checkpoints: of this part of the run; None if its state is not to be kept.

    Raises:
        KeyboardInterrupt: if that came before there was anything to keep.
        TrainingError: if training fails, such as when the loss is no longer a number; the best model so far stays in
            the run folder. If there was earlier training, its result is returned instead, with the failure.
    """
    device = classifier.mean.device
    train_loader = training_loader(data, recipe, device)
    state = TrainState.begin(classifier, recipe, earlier)
    with checkpoints or nullcontext(), torch.backends.cudnn.flags(enabled=True, deterministic=True):
        if checkpoints:
            restored = checkpoints.restore(state)
            if restored:
                recipe = recipe.replace(time_limit=checkpoints.time_limit)
            if restored or not any(row.epoch for row in state.rows):
                record_again(state, folder)
        heartbeat = world().heartbeat()
        events = train_epochs(state, train_loader, data.loader("valid", device), recipe, heartbeat.clock)
        interrupted, failure = False, ""
        try:
            interrupted = record(events, state, folder, checkpoints, heartbeat)
        except TrainingError as error:
            if earlier is None:
                raise
            failure = str(error)  # what was trained before stands
    assert state.best is not None
    notes = earlier.notes if earlier else ()
    if state.parts > 1:
        notes = (*notes, in_parts(train_loader.batch_size, state.parts))
    if earlier is not None and state.best.epoch == earlier.best.epoch:
        return replace(earlier, rows=state.rows, interrupted=interrupted, notes=notes, failure=failure)
    return Learned(state.best_classifier(), state.best, state.rows, interrupted, state.answers, notes, failure)
