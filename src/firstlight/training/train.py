"""A whole training run, from labeled images and a recipe to a trained, calibrated, scored, and saved model."""

import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.corrections import write_corrections
from firstlight.data.dataset import Dataset, write_quarantine
from firstlight.data.label_conflicts import with_labels
from firstlight.data.samples import Samples
from firstlight.data.split import write_split
from firstlight.data.thumbnails import thumbnail
from firstlight.data.uncropped import uncropped_image
from firstlight.errors import ImageError
from firstlight.evaluation.calibration import fit_temperature
from firstlight.evaluation.cues import shortcuts_in
from firstlight.evaluation.evaluate import evaluate_logits
from firstlight.evaluation.mistakes import shown_positions
from firstlight.evaluation.mixed_up import mixed_up_classes
from firstlight.files import write_text
from firstlight.inference.image_classifier import ImageClassifier
from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import save_model
from firstlight.progress import announce, phase
from firstlight.runs.begun import is_test_counted
from firstlight.runs.folder import (
    CORRECTIONS_FILE,
    HELD_OUT_FILE,
    MODEL_FILE,
    QUARANTINE_FILE,
    RECIPE_FILE,
    SPLIT_FILE,
    save_png,
)
from firstlight.runs.kept import MOST_SUSPECTS, Kept, kept_of, write_check_images, write_kept
from firstlight.runs.outputs import Outputs, write_outputs, write_thumbnails
from firstlight.runs.record import Record, TransferRecord, count_test_evaluation, headline, read_record, write_record
from firstlight.runs.suspects import read_suspects
from firstlight.runtime.distributed import alone, world
from firstlight.runtime.interrupts import holding_interrupts
from firstlight.training.begin import OpenRun, beginning
from firstlight.training.checkpoints import SAVE_EVERY, Checkpoints
from firstlight.training.learn import learn_by_gradient
from firstlight.training.novelty import strangeness_of
from firstlight.training.recipe import Recipe
from firstlight.training.recipe_file import to_toml
from firstlight.training.run import Run, run_of_leader
from firstlight.training.state import Learned
from firstlight.training.suspects import answered, judge_labels
from firstlight.training.transfer.features import extract_features
from firstlight.training.transfer.ladder import Transferred, head_logits, learn_by_transfer
from firstlight.training.trust import measure_trust, record_of, scored_on_test, with_strangeness

SCORING_TEST = "scoring the test split"  # what rank 0 tells the others when they are to help


def train(
    samples: Samples,
    recipe: Recipe | None = None,
    out: Path | str | None = None,
    *,
    score_test: bool = True,
    save_every: float = SAVE_EVERY,
) -> Run:
    """Train a classifier: pack, split, train, keep the best epoch on validation, calibrate, score the test split once.

    Ctrl-C ends training early: the best model so far is kept, and the test split stays locked. The run folder then
    holds what is needed to resume it, as it does after a kill; `end_run` removes it from a folder that is finished.

    Args:
        samples: from `load_data`.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.
        score_test: whether to score the test split at the end. A search over recipes leaves it locked.
        save_every: minutes; how often, besides after epochs, the state of training is written.

    Raises:
        UserError: if the data or the recipe cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    with beginning(samples, recipe or Recipe(), out, score_test=score_test) as run:
        return train_in(run, save_every=save_every)


def train_in(opened: OpenRun, *, save_every: float = SAVE_EVERY) -> Run:
    """Train in the folder of a run that has begun, from the state in it if there is one, and return the run.

    Where several processes train together, all of them learn and score; rank 0 does the rest, and the others wait.
    """
    folder, made = opened.folder, opened.made
    data, recipe, here = made.data, made.recipe, world()
    if here.is_leader:
        write_what_is_known(folder, data, recipe)
    with nullcontext() if here.is_leader else holding_interrupts():  # rank 0 decides what an interrupt leads to
        packed = time.perf_counter()
        transferred = None
        if made.weights is None:
            limit = recipe.optimization.time_limit
            checkpoints = Checkpoints(folder, "training", save_every=save_every, time_limit=limit)
            learned = learn_by_gradient(folder, made.classifier, data, recipe, checkpoints=checkpoints)
        else:
            transferred = learn_by_transfer(folder, made.classifier, data, recipe, made.weights, save_every=save_every)
            learned = transferred.learned
        train_seconds = time.perf_counter() - packed

        model, transfer = learned.model.eval(), transferred.record if transferred else None
        # note: epochs were compared in the number type of training; from here on all is computed as prediction does it
        outputs = outputs_on("valid", model, data, learned.best.epoch, transfer)
        if not here.is_leader:
            return follow_to_the_end(opened, learned, transfer)
    seconds = {"pack": packed - opened.started, "train": train_seconds}
    with alone():
        run = concluded(opened, learned, transferred, outputs, seconds)
    if opened.score_test and not run.interrupted:
        with suppress(KeyboardInterrupt):
            run = evaluate_on_test(run)
    share(run)
    return run


def concluded(
    opened: OpenRun,
    learned: Learned,
    transferred: Transferred | None,
    outputs: Outputs,
    seconds: dict[str, float],
) -> Run:
    """Return a run whose test split is still locked: calibrated, with its record, and saved.

    Args:
        opened: the run.
        learned: the best model on validation.
        transferred: how a pretrained network was used; None if there was none.
        outputs: of the model, on validation.
        seconds: that packing and training took.
    """
    folder, made, model = opened.folder, opened.made, learned.model
    data, recipe, samples = made.data, made.recipe, made.data.samples  # with their corrections
    logits, labels = torch.from_numpy(outputs.logits), torch.from_numpy(outputs.labels)
    model.temperature.fill_(fit_temperature(logits, labels))
    frozen = transferred if learned.best.epoch == 0 else None
    strangeness = strangeness_of(model, data, outputs, frozen, seed=recipe.seed)
    model.trust = measure_trust(outputs, model.temperature.item(), strangeness)
    write_outputs(folder, "valid", with_strangeness(outputs, model.trust, data, data.split.valid))
    write_check_images(folder, samples, data.store, data.split)
    said = transferred.train_outputs if transferred else answered(learned, data)
    suspects = judge_labels(folder, said, data, recipe.data.group_by)
    seconds = {**seconds, "total": time.perf_counter() - opened.started}
    record = Record(
        source=samples.source,
        source_key=data.store.content_key,
        classes=samples.classes,
        n={split: len(data.split.rows(split)) for split in ("train", "valid", "test")},
        quarantined=len(data.store.quarantined),
        leaks=len(data.leaks),
        dropped=len(data.dropped),
        notes=(*samples.notes, *data.notes, *learned.notes),
        epochs=learned.rows[-1].epoch,
        best_epoch=learned.best.epoch,
        seconds={name: round(value, 3) for name, value in seconds.items()},
        valid=evaluate_logits(logits, labels, samples.classes, temperature=model.temperature.item()),
        test=None,
        test_evaluations=0,
        leaked=tuple(tuple(samples.names[row] for row in leak) for leak in data.leaks),
        resize=model.resize,
        two_labels=with_labels(samples, data.conflicts.exact),
        near_two_labels=with_labels(samples, data.conflicts.near),
        transfer=transferred.record if transferred else None,
        model_choice=made.choice,
        shortcuts=shortcuts_in(samples, data.store, np.concatenate([data.split.train, data.split.valid])),
        trust=record_of(model.trust),
        suspects=sum(suspect.flagged for suspect in suspects),
        mixed_up=mixed_up_classes(outputs.logits, outputs.labels, samples.classes),
    )
    run = Run(folder, ImageClassifier.of(model), recipe, data, learned.rows, record, learned.interrupted)
    return save(run)


def share(run: Run) -> None:
    """Send a run to the processes that `follow_to_the_end`."""
    if world().size > 1:
        world().from_leader({"interrupted": run.interrupted})
        run_of_leader(run.folder)


def follow_to_the_end(opened: OpenRun, learned: Learned, transfer: TransferRecord | None) -> Run:
    """Score the test split together with rank 0, if it does, and return the run that it has made."""
    here, data = world(), opened.made.data
    while (told := here.from_leader()) == SCORING_TEST:
        with suppress(KeyboardInterrupt):
            outputs_on("test", learned.model, data, learned.best.epoch, transfer)
    return replace(run_of_leader(opened.folder), opened=data, interrupted=told["interrupted"])


def write_what_is_known(folder: Path, data: Dataset, recipe: Recipe) -> None:
    """Write into the run folder what is known before training."""
    samples = data.samples
    write_text(folder / RECIPE_FILE, to_toml(recipe, samples.source))
    write_split(folder / SPLIT_FILE, samples, data.split, data.dropped)
    write_quarantine(folder / QUARANTINE_FILE, samples, data.store)
    if recipe.data.corrections:
        write_corrections(folder / CORRECTIONS_FILE, data.corrections)


def evaluate_on_test(run: Run) -> Run:
    """Return a run with its test split scored; the model file, the record and the run folder say so too.

    The evaluation is counted before it is made, so that one that is interrupted counts as well.
    """
    started = time.perf_counter()
    before = read_record(run.folder).test_evaluations
    if is_test_counted(run.folder, before):
        announce("this run was stopped while it scored the test split; it is scored again, and counted once")
        count: int | None = before
    else:
        count = count_test_evaluation(run.folder)
    assert count is not None, "the record was written before"
    world().from_leader(SCORING_TEST)
    outputs = outputs_on("test", run.model, run.data, run.best_epoch, run.transfer)
    outputs = with_strangeness(outputs, run.model.trust, run.data, run.data.split.test)
    logits, labels = torch.from_numpy(outputs.logits), torch.from_numpy(outputs.labels)
    temperature = run.model.temperature.item()
    test = evaluate_logits(logits, labels, run.model.classes, temperature=temperature)
    write_outputs(run.folder, "test", outputs)
    trust = run.model.trust
    trusted = None if trust is None else scored_on_test(trust, outputs, temperature, run.model.classes)
    total = round(run.seconds["total"] + time.perf_counter() - started, 3)
    seconds = {**run.seconds, "total": total}
    scored = replace(run.record, test=test, test_evaluations=count, seconds=seconds, trust=trusted)
    try:
        with holding_interrupts():  # a score that is saved stands, and one that is not is not told
            run = save(replace(run, record=scored))
            write_example_images(run, run.data.split.test[shown_positions(logits, labels, temperature=temperature)])
            write_kept(run.folder, kept_of_run(run, outputs))
    except KeyboardInterrupt:
        run = replace(run, interrupted=True)
    return run


@phase("scoring")
def outputs_on(
    split: str, model: Classifier, data: Dataset, best_epoch: int, transfer: TransferRecord | None
) -> Outputs:
    """Return what a model says about `valid` or `test`: by cached features where only the head was trained."""
    rows = data.split.rows(split)
    names, digests = tuple(data.samples.names[row] for row in rows), data.store.digests[rows]
    if transfer is not None and best_epoch == 0:
        features = extract_features(model, data, rows, transfer.weights["sha256"])
        logits = head_logits(model, features).numpy()
        return Outputs(names, data.samples.labels[rows], logits, np.array(features), digests)
    with holding_interrupts():
        found = Predictor(model).collect_together(data.loader(split, model.mean.device), features=True)
    assert found.features is not None
    return Outputs(names, found.labels.numpy(), found.logits.numpy(), found.features.numpy(), digests)


def save(run: Run) -> Run:
    """Write the model file and the record of a run, as far as it is scored, and return the run as recorded."""
    choices = {name: value for name, value in run.recipe.flat().items() if name != "cache"}  # it changes nothing
    extra: dict[str, object] = {"recipe": choices}
    if run.transfer:
        extra["weights"] = run.transfer.weights
    scores = {"valid": headline(run.valid), "test": headline(run.test) if run.test else None}
    save_model(run.folder / MODEL_FILE, run.model, scores=scores, extra=extra)
    return replace(run, record=write_record(run.folder, run.record))


def kept_of_run(run: Run, test: Outputs) -> Kept:
    """Return what the report needs of the images of a run."""
    data, row_of = run.data, {name: row for row, name in enumerate(run.data.samples.names)}
    return kept_of(
        data.samples,
        data.store,
        data.split.test,
        test,
        temperature=run.model.temperature.item(),
        split=data.split,
        group_by=run.recipe.data.group_by,
        more=[row_of[suspect.image] for suspect in read_suspects(run.folder)[:MOST_SUSPECTS]],
    )


def write_example_images(run: Run, rows: NDArray[np.int64]) -> None:
    """Write the images that figures show, the first of them also as a PNG, before anything was cut off."""
    samples, pixels = run.data.samples, run.data.store.pixels
    example, max_pixels, white = int(rows[0]), run.recipe.data.max_pixels, run.model.white
    originals = (thumbnail(samples, row, max_pixels=max_pixels, white=white) for row in rows.tolist())
    pairs = zip(originals, pixels[rows], strict=True)
    images = [np.array(packed) if original is None else original for original, packed in pairs]
    write_thumbnails(run.folder, [samples.names[row] for row in rows], images)
    whole = None
    with suppress(ImageError, OSError):  # the file may have gone since it was packed
        whole = uncropped_image(samples, example, pixels[example], run.model.resize, max_pixels=max_pixels, white=white)
    save_png(run.folder / HELD_OUT_FILE, np.array(pixels[example]) if whole is None else whole)
