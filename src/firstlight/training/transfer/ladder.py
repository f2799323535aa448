"""The ladder of transfer learning: baselines, the linear head, and fine-tuning, each kept only if it does better.

The rungs of the ladder are the majority class, nearest neighbors among the features of a pretrained network, the best
linear head on these features, and the network itself, fine-tuned. Validation decides; the test split stays locked.
"""

import copy
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from firstlight.data.dataset import Dataset
from firstlight.data.groups import image_groups
from firstlight.evaluation.intervals import proportion
from firstlight.evaluation.paired import chance_better
from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.downloads import Weights
from firstlight.models.library_network import LibraryNetwork
from firstlight.models.model_file import save_model
from firstlight.models.pretrained import read_weights
from firstlight.progress import announce, phase
from firstlight.runs.folder import MODEL_FILE, write_metrics
from firstlight.runs.outputs import Outputs
from firstlight.runs.record import LINEAR_HEAD, MAJORITY, NEIGHBORS, Rung, TransferRecord
from firstlight.runtime.distributed import world
from firstlight.training.checkpoints import SAVE_EVERY, Checkpoints
from firstlight.training.layer_decay import freeze, norms_are_live
from firstlight.training.learn import learn_by_gradient
from firstlight.training.loop import balanced_weights
from firstlight.training.recipe import OPTIMIZATION_RANGES, Recipe
from firstlight.training.state import Epoch, Learned
from firstlight.training.transfer.exact_head import (
    LinearHead,
    Problem,
    assign_folds,
    fit_head,
    fit_head_by_folds,
)
from firstlight.training.transfer.features import Features, extract_features, seconds_per_image
from firstlight.training.transfer.learning_curve import CURVE_FRACTIONS, LAST_DOUBLING, draw_curve
from firstlight.training.transfer.rungs import (
    CLEARLY_BETTER,
    ScoredRung,
    majority,
    nearest_neighbors,
)
from firstlight.training.transfer.strategy import decide_case, next_step, own_confidence

SMALL_VALIDATION = 200  # images; a smaller validation split is too small to choose the penalty of the head by
HELD_OUT_SLOPE = 1e-4  # of the loss, where the search for a head that judges the others' labels ends
MIN_SECONDS = OPTIMIZATION_RANGES["time_limit"][0]  # with less time left, a rung is not begun
RUNGS = {"head": "head fine-tuned", "last": "last quarter fine-tuned", "all": "all fine-tuned"}


@dataclass(frozen=True)
class Transferred:
    """The result of transfer learning.

    Attributes:
        learned: the best model on validation.
        record: how it was found.
        train_outputs: what heads said about training images that they never saw; None if there were none.
    """

    learned: Learned
    record: TransferRecord
    train_outputs: Outputs | None


def learn_by_transfer(
    folder: Path,
    classifier: Classifier,
    data: Dataset,
    recipe: Recipe,
    weights: Weights,
    *,
    save_every: float = SAVE_EVERY,
) -> Transferred:
    """Try the rungs of the ladder that the recipe asks for, and keep what does best on validation.

    Args:
        folder: the run folder.
        classifier: its network is a `LibraryNetwork` with pretrained weights; it changes.
        data: the images.
        recipe: complete, with a pretrained network.
        weights: the file that the pretrained weights came from.
        save_every: minutes between checkpoints of fine-tuning.

    Raises:
        KeyboardInterrupt: if it came before there was a head.
    """
    started = time.perf_counter()
    train, valid = data.split.train, data.split.valid
    labels, valid_labels = data.samples.labels[train], data.samples.labels[valid]
    mirror, time_limit = bool(recipe.augmentation.flip), recipe.optimization.time_limit

    lowest = ScoredRung.of(MAJORITY, majority(labels, len(valid)), valid_labels, 0.0)
    passes = [
        extract_features(classifier, data, train, weights.sha256, feature_pass=number, mirror=mirror, seed=recipe.seed)
        for number in range(recipe.transfer.feature_passes)
    ]
    valid_features = extract_features(classifier, data, valid, weights.sha256)
    if not world().is_leader:
        return follow_ladder(folder, classifier, data, recipe, weights, valid_features=valid_features)
    predicted = nearest_neighbors(passes[0], labels, valid_features, len(data.samples.classes))
    features_done = time.perf_counter()
    neighbors = ScoredRung.of(NEIGHBORS, predicted, valid_labels, features_done - started)

    head = choose_head(passes, valid_features, data, recipe)
    attach(classifier, head)
    seconds = time.perf_counter() - started
    first = first_row(folder, classifier, (passes[0], labels), (valid_features, valid_labels), seconds)
    world().from_leader(asdict(first.best))
    copy_head(classifier)
    predicted = head.logits(valid_features).argmax(dim=1).numpy()
    linear = ScoredRung.of(LINEAR_HEAD, predicted, valid_labels, time.perf_counter() - features_done)

    ladder = Ladder(folder, data, first, [lowest.rung, neighbors.rung, linear.rung], linear, save_every)
    curve = case = None
    to_tune, step = depths(recipe), ""
    try:
        curve = draw_curve(
            (passes, labels), (valid_features, valid_labels), head, class_weights(data, recipe), seed=recipe.seed,
            fractions=CURVE_FRACTIONS if recipe.transfer.learning_curve else LAST_DOUBLING,
        )  # fmt: skip
        assert isinstance(classifier.network, LibraryNetwork)
        sure = own_confidence(classifier.network, read_weights(weights), valid_features)
        case = decide_case(sure, curve, num_images=len(train), fine_tuned=bool(to_tune))
        if not to_tune:
            step = next_step(linear.rung.accuracy, len(train), len(train) * seconds_per_image(classifier, data))
        for depth in to_tune:
            spent = max(time.perf_counter() - started, ladder.learned.rows[-1].seconds)  # some by an earlier process
            left = time_limit - spent if time_limit else None
            if left is not None and left < MIN_SECONDS:
                break
            world().from_leader({"depth": depth, "time_limit": left})
            if not ladder.finetune(depth, recipe.replace(time_limit=left)):
                break
    except KeyboardInterrupt:
        ladder.learned = replace(ladder.learned, interrupted=True)
    world().from_leader(None)
    record = TransferRecord(
        backbone=recipe.model.name,
        weights={key: getattr(weights, key) for key in ("source", "license", "sha256")},
        strategy=ladder.best.rung.name,
        ladder=tuple(ladder.rungs),
        case=None if case is None else case.to_json(),
        learning_curve=curve,
        head={"strength": head.strength},
        next_step=step,
    )
    return Transferred(ladder.learned, record, held_out_outputs(head, passes[0], data))


def follow_ladder(
    folder: Path,
    classifier: Classifier,
    data: Dataset,
    recipe: Recipe,
    weights: Weights,
    *,
    valid_features: Features,
) -> Transferred:
    """Fine-tune whatever rank 0 fine-tunes, from the head that it has found, and return what both have learned.

    The record holds only what the others need. The arguments are those of `learn_by_transfer`.
    """
    here = world()
    row = Epoch(**here.from_leader())
    copy_head(classifier)
    predicted = head_logits(classifier, valid_features).argmax(dim=1).numpy()
    linear = ScoredRung.of(LINEAR_HEAD, predicted, data.samples.labels[data.split.valid], 0.0)
    ladder = Ladder(folder, data, Learned(classifier, row, [row]), [linear.rung], linear)
    while (told := here.from_leader()) is not None:
        ladder.finetune(told["depth"], recipe.replace(time_limit=told["time_limit"]))
    record = TransferRecord(
        backbone=recipe.model.name,
        weights={"sha256": weights.sha256},
        strategy=ladder.best.rung.name,
        ladder=tuple(ladder.rungs),
        case=None,
        learning_curve=None,
        head={},
    )
    return Transferred(ladder.learned, record, None)


def depths(recipe: Recipe) -> tuple[str, ...]:
    """Return what is to be fine-tuned, one after the other."""
    if recipe.transfer.ladder:
        return "last", "all"
    return () if recipe.transfer.finetune == "none" else (recipe.transfer.finetune,)


@phase("solving for the linear head")
def choose_head(passes: list[Features], valid_features: Features, data: Dataset, recipe: Recipe) -> LinearHead:
    """Solve for the head on one or more passes over the training images; validation log loss chooses its penalty.

    Where validation has fewer than 200 images, cross-validation inside the training images chooses instead.
    """
    train, num_classes = data.split.train, len(data.samples.classes)
    features, labels = np.concatenate(passes), np.tile(data.samples.labels[train], len(passes))
    balanced = class_weights(data, recipe)
    groups = image_groups(data.samples, data.store.duplicates, recipe.data.group_by)[train]
    if len(valid_features) >= SMALL_VALIDATION or len(np.unique(groups)) == 1:  # one group cannot be cut into folds
        problem = Problem(features, labels, num_classes, balanced)
        head = fit_head(problem, valid_features, data.samples.labels[data.split.valid])
        if len(np.unique(groups)) == 1:
            return head
        fold_of = assign_folds(labels, np.tile(groups, len(passes)), seed=recipe.seed)
        return replace(head, held_out_logits=problem.out_of_fold(fold_of, head.strength, HELD_OUT_SLOPE))
    return fit_head_by_folds(features, labels, np.tile(groups, len(passes)), num_classes, balanced, seed=recipe.seed)


def held_out_outputs(head: LinearHead, features: Features, data: Dataset) -> Outputs | None:
    """Return what heads said about training images that they never saw; None if all are of one group."""
    if head.held_out_logits is None:
        return None
    rows = data.split.train
    names = tuple(data.samples.names[row] for row in rows)
    logits = head.held_out_logits[: len(rows)].float().numpy()  # of the images as they are, the first pass
    return Outputs(names, data.samples.labels[rows], logits, np.array(features), data.store.digests[rows])


def class_weights(data: Dataset, recipe: Recipe) -> Tensor | None:
    """Return what the loss of each class is multiplied by, float32 `[K]`; None if rare classes stay rare."""
    if recipe.optimization.balance == "none":
        return None
    return balanced_weights(torch.from_numpy(data.samples.labels[data.split.train]), len(data.samples.classes))


def attach(classifier: Classifier, head: LinearHead) -> None:
    """Copy a head into the network's own linear layer."""
    with torch.no_grad():
        classifier.network.head.weight.copy_(head.weight)
        classifier.network.head.bias.copy_(head.bias)


def copy_head(classifier: Classifier) -> None:
    """Let all processes that train together have the head of rank 0."""
    for weights in classifier.network.head.parameters():
        world().copy_from_leader(weights.detach())


def first_row(
    folder: Path,
    classifier: Classifier,
    train: tuple[Features, NDArray[np.int64]],
    valid: tuple[Features, NDArray[np.int64]],
    seconds: float,
) -> Learned:
    """Save the classifier with its exact head as the first model of the run, epoch 0."""
    (train_loss, _), (valid_loss, accuracy) = (_scores(classifier, *split) for split in (train, valid))
    row = Epoch(0, round(seconds, 3), 0.0, train_loss, valid_loss, accuracy)
    write_metrics(folder, [asdict(row)])
    save_model(folder / MODEL_FILE, classifier)
    return Learned(classifier, row, [row])


@dataclass
class Ladder:
    """The ladder, and the best that was found on it so far.

    Attributes:
        folder: the run folder.
        data: the images.
        learned: the best model on validation.
        rungs: that were tried, from the lowest.
        best: the rung of `learned`, which the next one has to beat.
        save_every: minutes between checkpoints.
    """

    folder: Path
    data: Dataset
    learned: Learned
    rungs: list[Rung]
    best: ScoredRung
    save_every: float = SAVE_EVERY

    def finetune(self, depth: str, recipe: Recipe) -> bool:
        """Fine-tune a copy of the best model; keep it if it does no worse on validation.

        If that fails, such as when the loss is no longer a number, this rung has ended, and the best so far stands.

        Args:
            depth: `head`, `last` or `all`.
            recipe: complete.

        Returns:
            whether it was clearly better, so that the next rung may help as well.
        """
        assert recipe.optimization.batch_size
        started, rows_before = time.perf_counter(), len(self.learned.rows)
        model = copy.deepcopy(self.learned.model)
        assert isinstance(model.network, LibraryNetwork)
        live = norms_are_live(
            recipe.transfer.norms,
            depth,
            batch_size=recipe.optimization.batch_size,
            images=len(self.data.split.train),
        )
        freeze(model.network.body, depth, live_norms=live)
        checkpoints = Checkpoints(
            self.folder,
            f"finetune-{depth}",
            save_every=self.save_every,
            time_limit=recipe.optimization.time_limit,
        )
        tuned = learn_by_gradient(self.folder, model, self.data, recipe, self.learned, checkpoints=checkpoints)

        if tuned.failure:
            line = f"{RUNGS[depth]}: {tuned.failure}"
            announce(line)
            tuned = replace(tuned, notes=(*tuned.notes, line))
        rows = tuned.rows[rows_before:]
        self.learned = replace(self.learned, rows=tuned.rows, interrupted=tuned.interrupted, notes=tuned.notes)
        if not rows or tuned.best.epoch == self.learned.best.epoch:
            if rows:
                highest, count = max(row.valid_accuracy for row in rows), self.best.rung.accuracy.n
                accuracy = proportion(round(highest * count), count)
                self.rungs.append(Rung(RUNGS[depth], accuracy, round(time.perf_counter() - started, 3), len(rows)))
            return False
        labels = self.data.samples.labels[self.data.split.valid]
        outputs = Predictor(tuned.model).collect_together(self.data.loader("valid", tuned.model.mean.device))
        predicted = outputs.logits.argmax(dim=1).numpy()
        scored = ScoredRung.of(RUNGS[depth], predicted, labels, time.perf_counter() - started)
        self.rungs.append(replace(scored.rung, epochs=len(rows)))
        if scored.hits.sum() < self.best.hits.sum():  # the number type of training made it look better than it is
            return False
        before, self.best, self.learned = self.best, scored, tuned
        ended = tuned.interrupted or tuned.failure
        return not ended and chance_better(scored.hits, than=before.hits) >= CLEARLY_BETTER


def head_logits(classifier: Classifier, features: Features) -> Tensor:
    """Return the logits of features, float32 `[n, K]`, on the CPU."""
    with torch.inference_mode():
        logits: Tensor = classifier.network.head(torch.from_numpy(np.array(features)).to(classifier.mean.device)).cpu()
    return logits.clone()


def _scores(classifier: Classifier, features: Features, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Return mean cross entropy and accuracy of the head on features."""
    wanted, logits = torch.from_numpy(labels), head_logits(classifier, features)
    right = (logits.argmax(dim=1) == wanted).double().mean().item()
    return functional.cross_entropy(logits, wanted).item(), right
