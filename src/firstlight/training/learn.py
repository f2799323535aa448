"""Learning with a record: epochs are written down as they come, and the best one by validation is kept."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from firstlight.data.dataset import Dataset
from firstlight.data.loader import Loader
from firstlight.errors import TrainingError
from firstlight.evaluation.evaluate import Outputs, collect
from firstlight.models.artefact import save_model
from firstlight.models.classifier import Classifier
from firstlight.models.inference import ready
from firstlight.runtime.seeds import derive_seed
from firstlight.training.loop import Epoch, train
from firstlight.training.recipe import Recipe
from firstlight.training.run_folder import write_metrics


@dataclass(frozen=True)
class Learned:
    """What training gave: the best model by validation, its epoch, a row an epoch, and whether Ctrl-C ended it."""

    model: Classifier
    best: Epoch
    history: list[Epoch]
    interrupted: bool = False


def learn(
    folder: Path, classifier: Classifier, data: Dataset, recipe: Recipe, before: Learned | None = None
) -> Learned:
    """Train, write the run's record as it goes, and keep the best epoch by validation.

    Args:
        folder: the run folder; `metrics.csv`, `model.safetensors` and `tensorboard/` are written.
        classifier: on its device; its weights change.
        data: what to learn from, and to choose by.
        recipe: a complete recipe.
        before: what was learned earlier in the same run: its rows come first, and its model stays the best until an
            epoch is better.

    Raises:
        KeyboardInterrupt: if that came before there was anything to keep.
        TrainingError: if the loss is no longer a number.
    """
    assert recipe.batch_size
    device = classifier.mean.device
    train_loader = Loader(
        data.store.pixels,
        data.samples.labels,
        data.split.train,
        batch_size=min(recipe.batch_size, len(data.split.train)),
        device=device,
        seed=derive_seed(recipe.seed, "loader"),
        balanced=recipe.balance == "sampling",
        drop_last=True,
    )
    valid_loader = data.loader("valid", device)
    file = folder / "model.safetensors"
    history = list(before.history) if before else []
    kept = (before.best, before.model) if before else None
    epochs_before, seconds_before = (history[-1].epoch, history[-1].seconds) if history else (0, 0.0)
    interrupted = False
    try:
        with tensorboard_events(folder) as events, torch.backends.cudnn.flags(enabled=True, deterministic=True):
            for found, trained in train(classifier, train_loader, valid_loader, recipe):
                row = replace(
                    found, epoch=epochs_before + found.epoch, seconds=round(seconds_before + found.seconds, 3)
                )
                history.append(row)
                write_metrics(folder, [asdict(row) for row in history])
                for name, value in asdict(row).items():
                    events.add_scalar(name, value, row.epoch)
                if kept is None or is_better(row, kept[0]):
                    kept = row, copy.deepcopy(trained)  # before the file is there: Ctrl-C may come in between
                    save_model(file, trained)
                if recipe.patience and row.epoch - max(kept[0].epoch, epochs_before) >= recipe.patience:
                    break
    except KeyboardInterrupt:
        interrupted = True
        if kept is None:
            raise
    except TrainingError as error:
        saved = f"; the model of epoch {kept[0].epoch} is kept in {file}" if kept else ""
        raise TrainingError(f"{error}{saved}") from None
    assert kept is not None
    return Learned(model=kept[1], best=kept[0], history=history, interrupted=interrupted)


def outputs_on(part: str, model: Classifier, data: Dataset) -> Outputs:
    """Run a model over `valid` or `test`, just as it will predict."""
    return collect(ready(model), data.loader(part, model.mean.device).epoch())


def is_better(row: Epoch, than: Epoch) -> bool:
    """Compare epochs: accuracy, being what people ask for, chooses; log loss decides between equals."""
    return (row.valid_accuracy, -row.valid_loss) > (than.valid_accuracy, -than.valid_loss)


@contextmanager
def tensorboard_events(folder: Path) -> Iterator[Any]:
    """Open an event writer for TensorBoard in the run folder."""
    from torch.utils.tensorboard.writer import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))
    try:
        yield writer
    finally:
        writer.close()
