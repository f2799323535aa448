"""The road: data in; a trained, honestly scored and saved model out."""

import copy
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from firstlight.data.dataset import Dataset, write_quarantine
from firstlight.data.loader import Loader
from firstlight.data.samples import Samples
from firstlight.data.split import write_split
from firstlight.errors import TrainingError
from firstlight.evaluation.calibration import fit_temperature
from firstlight.evaluation.evaluate import Outputs, collect, evaluate, worst_mistakes
from firstlight.files import write_text
from firstlight.models.artefact import save_model
from firstlight.models.classifier import Classifier
from firstlight.models.inference import ready
from firstlight.runtime import derive_seed, pick_device, require_compiler
from firstlight.training.loop import Epoch, train
from firstlight.training.prepare import build_classifier, prepare_data
from firstlight.training.recipe import Recipe, to_toml
from firstlight.training.run import Run, headline
from firstlight.training.run_folder import make_run_folder, require_free, write_metrics

MISTAKES_KEPT = 24


@dataclass(frozen=True)
class Learned:
    """What training gave: the best model by validation, its epoch, a row an epoch, and whether Ctrl-C ended it."""

    model: Classifier
    best: Epoch
    history: list[Epoch]
    interrupted: bool


def fit(samples: Samples, recipe: Recipe | None = None, out: Path | str | None = None) -> Run:
    """Train a classifier: pack, split, train, choose by validation, calibrate, score once on the test split, save.

    Ctrl-C ends training early; the best model so far is kept, and the test split stays locked.

    Args:
        samples: from `load_data`.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.

    Raises:
        UserError: if the data or the recipe cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    started = time.perf_counter()
    recipe, out = recipe or Recipe(), Path(out) if out is not None else None
    device = pick_device(recipe.device)
    require_free(out)
    if recipe.compile:
        require_compiler()
    data, recipe = prepare_data(samples, recipe)
    classifier = build_classifier(data, recipe, device)
    folder = make_run_folder(samples.name, out)
    write_text(folder / "recipe.toml", to_toml(recipe, samples.source))
    write_split(folder / "split.csv", samples, data.split, data.dropped)
    write_quarantine(folder / "quarantine.csv", samples, data.store)
    packed = time.perf_counter()
    try:
        learned = learn(folder, classifier, data, recipe)
    except KeyboardInterrupt:  # before there was anything to keep: the folder is free again
        shutil.rmtree(folder, ignore_errors=True)
        raise
    seconds = {"pack": packed - started, "train": time.perf_counter() - packed}

    model, classes = learned.model, samples.classes
    # note: the loop looked in the number type of training; what is reported is calculated as prediction is
    seen = outputs_on("valid", model, data)
    model.temperature.fill_(fit_temperature(seen.logits, seen.labels))
    temperature = model.temperature.item()
    run = Run(
        folder=folder,
        model=model,
        recipe=recipe,
        data=data,
        history=learned.history,
        best_epoch=learned.best.epoch,
        seconds=_rounded(seconds, started),
        valid=evaluate(seen.logits, seen.labels, classes, temperature=temperature),
        test=None,
    )
    save(run, looks=0)
    with suppress(KeyboardInterrupt):
        if not learned.interrupted:
            run.write_record(looks=1)  # a look is counted before it is taken
            seen = outputs_on("test", model, data)
            run = replace(
                run,
                test=evaluate(seen.logits, seen.labels, classes, temperature=temperature),
                mistakes=worst_mistakes(seen.logits, seen.labels, seen.rows, MISTAKES_KEPT, temperature=temperature),
                seconds=_rounded(seconds, started),
            )
            save(run, looks=1)
    return run


def learn(folder: Path, classifier: Classifier, data: Dataset, recipe: Recipe) -> Learned:
    """Train, write the run's record as it goes, and keep the best epoch by validation.

    Raises:
        KeyboardInterrupt: if that came before the first epoch was over: there is nothing to keep.
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
    history: list[Epoch] = []
    kept: tuple[Epoch, Classifier] | None = None
    interrupted = False
    try:
        with tensorboard_events(folder) as events, torch.backends.cudnn.flags(deterministic=True):
            for row, trained in train(classifier, train_loader, valid_loader, recipe):
                history.append(row)
                write_metrics(folder, [asdict(row) for row in history])
                for name, value in asdict(row).items():
                    events.add_scalar(name, value, row.epoch)
                if kept is None or is_better(row, kept[0]):
                    kept = row, copy.deepcopy(trained)  # before the file is there: Ctrl-C may come in between
                    save_model(file, trained)
                if recipe.patience and row.epoch - kept[0].epoch >= recipe.patience:
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


def is_better(row: Epoch, than: Epoch) -> bool:
    """Compare epochs: accuracy, being what people ask for, chooses; log loss decides between equals."""
    return (row.valid_accuracy, -row.valid_loss) > (than.valid_accuracy, -than.valid_loss)


def outputs_on(part: str, model: Classifier, data: Dataset) -> Outputs:
    """Run a model over `valid` or `test`, just as it will predict."""
    return collect(ready(model), data.loader(part, model.mean.device).epoch())


def save(run: Run, looks: int) -> None:
    """Write the model file and the record of a run, as far as it is scored."""
    scores = {"valid": headline(run.valid), "test": headline(run.test) if run.test else None}
    save_model(run.folder / "model.safetensors", run.model, scores=scores, extra={"recipe": asdict(run.recipe)})
    run.write_record(looks)


def _rounded(seconds: dict[str, float], started: float) -> dict[str, float]:
    return {name: round(value, 3) for name, value in (seconds | {"total": time.perf_counter() - started}).items()}


@contextmanager
def tensorboard_events(folder: Path) -> Iterator[Any]:
    """Open an event writer for TensorBoard in the run folder."""
    from torch.utils.tensorboard.writer import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))
    try:
        yield writer
    finally:
        writer.close()
