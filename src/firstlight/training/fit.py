"""The road: data in; a trained, honestly scored and saved model out."""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firstlight.data.dataset import Dataset, open_samples, split_samples, write_quarantine
from firstlight.data.loader import Loader
from firstlight.data.samples import Samples
from firstlight.data.split import PARTS, write_split
from firstlight.data.store import USUAL_SIDE
from firstlight.errors import TrainingError
from firstlight.evaluation.calibration import fit_temperature
from firstlight.evaluation.evaluate import Evaluation, Mistake, collect, evaluate, worst_mistakes
from firstlight.files import write_json, write_text
from firstlight.models.artefact import save_model
from firstlight.models.classifier import Classifier
from firstlight.models.networks import initialise
from firstlight.models.weights import load_state_dict_file, load_weights
from firstlight.runtime import derive_seed, generator, pick_device
from firstlight.training.loop import Epoch, train
from firstlight.training.recipe import Recipe, to_toml
from firstlight.training.run_folder import make_run_folder, write_metrics

EVALUATION_BATCH = 500
ADAPT_PICTURES = 5000  # training pictures that mean, deviation and whitening are computed from


@dataclass(frozen=True)
class Run:
    """A finished run: where it is, what it made, and how good that is.

    Attributes:
        folder: the run folder.
        model: the best classifier by validation, in eval mode.
        recipe: complete, as recorded in `recipe.toml`.
        data: what it was trained and scored on.
        history: a row an epoch.
        seconds: what packing, training and the whole took.
        valid: scores on the validation split, which chose the model and its temperature: a little rosy.
        test: scores on the test split, taken once; None if the run was interrupted.
        mistakes: the most confident mistakes on the test split.
    """

    folder: Path
    model: Classifier
    recipe: Recipe
    data: Dataset
    history: list[Epoch]
    seconds: dict[str, float]
    valid: Evaluation
    test: Evaluation | None
    mistakes: tuple[Mistake, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Give what `firstlight train --json` prints."""
        return {
            "run": str(self.folder),
            "model": str(self.folder / "model.safetensors"),
            "source": self.data.samples.source,
            "classes": list(self.model.classes),
            "n": {part: len(self.data.split.part(part)) for part in PARTS},
            "quarantined": len(self.data.store.quarantined),
            "leaks": len(self.data.leaks),
            "dropped": len(self.data.dropped),
            "epochs": len(self.history),
            "seconds": self.seconds,
            "valid": headline(self.valid),
            "test": headline(self.test) if self.test else None,
        }


def fit(samples: Samples, recipe: Recipe | None = None, out: Path | str | None = None) -> Run:
    """Train a classifier: pack, split, train, choose by validation, calibrate, score once on the test split, save.

    Ctrl-C ends training early; the best model so far is kept and the test split stays locked.

    Args:
        samples: from `load_data`.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.

    Raises:
        UserError: if the data or the recipe cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    started = time.perf_counter()
    recipe = recipe or Recipe()
    device = pick_device(recipe.device)
    data, recipe = prepare(samples, recipe)
    classifier = build_classifier(data, recipe, device)
    folder = make_run_folder(samples.name, Path(out) if out is not None else None)
    write_text(folder / "recipe.toml", to_toml(recipe, samples.source))
    write_split(folder / "split.csv", samples.names, samples.labels, samples.classes, data.split)
    write_quarantine(folder / "quarantine.csv", samples, data.store)
    packed = time.perf_counter()
    model, history, interrupted = learn(folder, classifier, data, recipe)
    learned = time.perf_counter()

    # note: the loop looked in the number type of training; what is reported is float32, as prediction is
    seen = collect(model, data.loader("valid", EVALUATION_BATCH, device).epoch())
    model.temperature.fill_(fit_temperature(seen.logits, seen.labels))
    temperature = model.temperature.item()
    valid = evaluate(seen.logits, seen.labels, samples.classes, temperature=temperature)
    test: Evaluation | None = None
    mistakes: tuple[Mistake, ...] = ()
    if not interrupted:
        seen = collect(model, data.loader("test", EVALUATION_BATCH, device).epoch())
        test = evaluate(seen.logits, seen.labels, samples.classes, temperature=temperature)
        mistakes = worst_mistakes(seen.logits, seen.labels, seen.rows, 24, temperature=temperature)
    seconds = {"pack": packed - started, "train": learned - packed, "total": time.perf_counter() - started}
    scores = {"valid": headline(valid), "test": headline(test) if test else None}
    save_model(folder / "model.safetensors", model, scores=scores, extra={"recipe": asdict(recipe)})
    run = Run(
        folder=folder,
        model=model,
        recipe=recipe,
        data=data,
        history=history,
        seconds={name: round(value, 3) for name, value in seconds.items()},
        valid=valid,
        test=test,
        mistakes=mistakes,
    )
    write_json(
        folder / "evaluation.json",
        {
            **run.to_json(),
            "best_epoch": best_of(history).epoch,
            "test_evaluations": int(test is not None),
            "valid": valid.to_json(),
            "test": test.to_json() if test else None,
            "leaked": [[samples.names[row] for row in leak] for leak in data.leaks],
        },
    )
    return run


def learn(folder: Path, classifier: Classifier, data: Dataset, recipe: Recipe) -> tuple[Classifier, list[Epoch], bool]:
    """Train, write the run's record as it goes, and keep the best epoch by validation.

    Returns:
        The best classifier, a row an epoch, and whether Ctrl-C ended it early.

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
    valid_loader = data.loader("valid", EVALUATION_BATCH, device)
    history: list[Epoch] = []
    model, interrupted, file = classifier, False, folder / "model.safetensors"
    try:
        with tensorboard_events(folder) as events:
            for row, trained in train(classifier, train_loader, valid_loader, recipe):
                history.append(row)
                write_metrics(folder, [asdict(row) for row in history])
                for name, value in asdict(row).items():
                    events.add_scalar(name, value, row.epoch)
                best = best_of(history)
                if best is row:
                    model = copy.deepcopy(trained)
                    save_model(file, model)
                if recipe.patience and row.epoch - best.epoch >= recipe.patience:
                    break
    except KeyboardInterrupt:
        interrupted = True
        if not history:
            raise
    except TrainingError as error:
        kept = f"; the model of epoch {best_of(history).epoch} is kept in {file}" if history else ""
        raise TrainingError(f"{error}{kept}") from None
    return model, history, interrupted


def best_of(history: list[Epoch]) -> Epoch:
    """Choose an epoch: accuracy, being what people ask for, chooses; log loss decides between equals."""
    return max(history, key=lambda row: (row.valid_accuracy, -row.valid_loss))


def prepare(samples: Samples, recipe: Recipe) -> tuple[Dataset, Recipe]:
    """Pack and split the pictures, and fill the recipe's open choices with what suits the model and the pictures."""
    usual = USUAL_SIDE
    if ":" in recipe.model:
        from firstlight.models.backbones import recommended_input_size

        usual = recommended_input_size(recipe.model)[1]
    store = open_samples(
        samples,
        size=recipe.img_size,
        usual=usual,
        fit=recipe.fit,
        workers=recipe.workers,
        allow_quarantine=recipe.allow_quarantine,
    )
    data = split_samples(
        samples,
        store,
        shares=recipe.split,
        group_by=recipe.group_by,
        drop_leaks=recipe.drop_leaks,
        seed=recipe.seed,
    )
    return data, recipe.complete(colour=store.input_size[0] == 3, pictures=len(data.split.train))


def build_classifier(data: Dataset, recipe: Recipe, device: torch.device) -> Classifier:
    """Build the network with fresh weights that depend on the seed alone, fitted to the training pictures' colours."""
    with torch.random.fork_rng([]):
        torch.manual_seed(derive_seed(recipe.seed, "weights"))
        classifier = Classifier(
            architecture=recipe.architecture,
            classes=data.samples.classes,
            input_size=data.store.input_size,
            fit=recipe.fit,
        )
    if recipe.init != "default":
        initialise(classifier.network, recipe.init, generator(recipe.seed, "weights"))
    looked_at = data.split.train[:: max(1, len(data.split.train) // ADAPT_PICTURES)]
    pixels = np.ascontiguousarray(data.store.pixels[looked_at])
    classifier.adapt_to(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    if recipe.weights:
        state = load_state_dict_file(recipe.weights)
        whole = any(name.startswith("network.") for name in state)
        load_weights(classifier if whole else classifier.network, state, source=recipe.weights)
    return classifier.to(device)


def headline(evaluation: Evaluation) -> dict[str, Any]:
    """Give the numbers that are read first, each with its interval and n."""
    scores = evaluation.to_json()
    return {name: scores[name] for name in ("accuracy", "log_loss", "top5", "macro_f1", "ece")}


@contextmanager
def tensorboard_events(folder: Path) -> Iterator[Any]:
    """Open an event writer for TensorBoard in the run folder."""
    from torch.utils.tensorboard.writer import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))
    try:
        yield writer
    finally:
        writer.close()
