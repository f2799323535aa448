"""Transfer learning: look at every image once, solve for the head, then fine-tune as far as it pays.

The rungs are, from the ground: the majority class, nearest neighbors in what a pretrained network sees, the best
linear head on that, and the network itself trained on. Validation images decide; the test split stays locked.
"""

import copy
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from firstlight.data.dataset import Dataset, named_groups
from firstlight.evaluation.evaluate import Outputs
from firstlight.evaluation.intervals import proportion
from firstlight.models.artefact import save_model
from firstlight.models.classifier import Classifier
from firstlight.models.downloads import Weights
from firstlight.models.library_network import LibraryNetwork
from firstlight.training.depth import freeze, norms_live
from firstlight.training.learn import Learned, learn, outputs_on
from firstlight.training.loop import Epoch, balanced_weights
from firstlight.training.recipe import RANGES, Recipe
from firstlight.training.run_folder import write_metrics
from firstlight.training.transfer.exact_head import LinearHead, Problem, fit_head, fit_head_by_folds
from firstlight.training.transfer.features import Features, extract_features
from firstlight.training.transfer.learning_curve import CURVE_FRACTIONS, HALF_ONLY, LearningCurve, draw_curve
from firstlight.training.transfer.rungs import WORTHWHILE_PROBABILITY, Rung, chance_better, majority, nearest_neighbors
from firstlight.training.transfer.strategy import Case, own_confidence, tell_case

SMALL_VALIDATION = 200  # images; a smaller part is too few to choose the head's penalty by
SHORTEST, _ = RANGES["time_limit"]  # seconds; with less left, a rung is not begun
RUNGS = {"head": "head fine-tuned", "last": "last quarter fine-tuned", "all": "all fine-tuned"}


@dataclass(frozen=True)
class Transfer:
    """How a run built on a pretrained network, besides what every run tells.

    Attributes:
        backbone: `timm:NAME` or `torchvision:NAME`.
        weights: the file it started from.
        ladder: the rungs that were climbed, from the ground.
        strategy: the rung that was kept.
        case: which of the four cases the images are in; None if Ctrl-C came before it was told.
        curve: accuracy against the number of images; likewise.
        head: the exact head.
    """

    backbone: str
    weights: Weights
    ladder: tuple[Rung, ...]
    strategy: str
    case: Case | None
    curve: LearningCurve | None
    head: LinearHead

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` adds to a run's."""
        return {
            "backbone": self.backbone,
            "weights": {key: getattr(self.weights, key) for key in ("source", "license", "sha256")},
            "strategy": self.strategy,
            "ladder": [rung.to_json() for rung in self.ladder],
            "case": self.case.to_json() if self.case else None,
            "learning_curve": self.curve.to_json() if self.curve else None,
            "head": {"strength": self.head.strength},
        }


def learn_by_transfer(
    folder: Path, classifier: Classifier, data: Dataset, recipe: Recipe, weights: Weights
) -> tuple[Learned, Transfer]:
    """Climb the ladder as far as the recipe says, and keep what validates best.

    Args:
        folder: the run folder.
        classifier: its network is a `LinearProbe` with pretrained weights; it changes.
        data: the images.
        recipe: complete, with a backbone.
        weights: where the pretrained weights came from.

    Raises:
        KeyboardInterrupt: if that came before there was a head.
        TrainingError: if a loss is no longer a number; the best model so far stays in the run folder.
    """
    started = time.perf_counter()
    network = classifier.network
    assert recipe.backbone and isinstance(network, LibraryNetwork)
    labels, valid_labels = data.samples.labels[data.split.train], data.samples.labels[data.split.valid]
    num_classes, named = len(data.samples.classes), weights.sha256

    ground = Rung.of("majority class", majority(labels, len(valid_labels)), valid_labels, 0.0)
    views = [
        extract_features(
            classifier, data, data.split.train, named, view=view, mirror=bool(recipe.flip), seed=recipe.seed
        )
        for view in range(recipe.views)
    ]
    seen, seen_valid = views[0], extract_features(classifier, data, data.split.valid, named)
    answers = nearest_neighbors(seen, labels, seen_valid, num_classes)
    features_done = time.perf_counter()
    neighbors = Rung.of("nearest neighbors", answers, valid_labels, features_done - started)

    head = choose_head(views, seen_valid, data, recipe)
    put_on(network, head)
    begun = first_row(folder, classifier, (seen, labels), (seen_valid, valid_labels), time.perf_counter() - started)
    answers = head.logits(seen_valid).argmax(dim=1).numpy()
    linear = Rung.of("linear head", answers, valid_labels, time.perf_counter() - features_done)

    climb = Climb(folder, data, begun, [ground, neighbors, linear])
    curve = case = None
    try:
        fractions = CURVE_FRACTIONS if recipe.learning_curve else HALF_ONLY
        curve = draw_curve(
            (views, labels), (seen_valid, valid_labels), head, class_weights(data, recipe),
            seed=recipe.seed, fractions=fractions,
        )  # fmt: skip
        case = tell_case(own_confidence(network, weights.path, seen_valid), curve)
        for depth in wished_depths(recipe):
            left = recipe.time_limit - (time.perf_counter() - started) if recipe.time_limit else None
            if (left is not None and left < SHORTEST) or not climb.finetune(depth, replace(recipe, time_limit=left)):
                break
    except KeyboardInterrupt:
        climb.learned = replace(climb.learned, interrupted=True)
    found = Transfer(recipe.backbone, weights, tuple(climb.ladder), climb.best.name, case, curve, head)
    return climb.learned, found


def wished_depths(recipe: Recipe) -> tuple[str, ...]:
    """Say what shall be fine-tuned, one after the other."""
    if recipe.ladder:
        return "last", "all"
    return () if recipe.finetune == "none" else (recipe.finetune,)


def choose_head(views: list[Features], seen_valid: Features, data: Dataset, recipe: Recipe) -> LinearHead:
    """Solve for the head on one or more views of the training images; validation log loss chooses its penalty.

    Where validation has fewer than 200 images, cross-validation inside the training images chooses instead.
    """
    train, num_classes = data.split.train, len(data.samples.classes)
    seen, labels = np.concatenate(views), np.tile(data.samples.labels[train], len(views))
    balanced = class_weights(data, recipe)
    groups = named_groups(data.samples, data.store.duplicates, recipe.group_by)[train]
    if len(seen_valid) >= SMALL_VALIDATION or len(np.unique(groups)) == 1:  # which cannot be cut into folds
        problem = Problem(seen, labels, num_classes, balanced)
        return fit_head(problem, seen_valid, data.samples.labels[data.split.valid])
    return fit_head_by_folds(seen, labels, np.tile(groups, len(views)), num_classes, balanced, seed=recipe.seed)


def class_weights(data: Dataset, recipe: Recipe) -> Tensor | None:
    """Give what each class' loss is multiplied by, float32 `[K]`, if rare classes shall not stay rare."""
    if recipe.balance == "none":
        return None
    return balanced_weights(torch.from_numpy(data.samples.labels[data.split.train]), len(data.samples.classes))


def put_on(network: LibraryNetwork, head: LinearHead) -> None:
    """Make a head the network's own, an ordinary linear layer."""
    with torch.no_grad():
        network.head.weight.copy_(head.weight)
        network.head.bias.copy_(head.bias)


def first_row(
    folder: Path,
    classifier: Classifier,
    train: tuple[Features, NDArray[np.int64]],
    valid: tuple[Features, NDArray[np.int64]],
    seconds: float,
) -> Learned:
    """Save the classifier with its exact head as the first model of the run, epoch 0."""
    (train_loss, _), (valid_loss, accuracy) = (_scores(classifier, *part) for part in (train, valid))
    row = Epoch(0, round(seconds, 3), 0.0, train_loss, valid_loss, accuracy)
    write_metrics(folder, [asdict(row)])
    save_model(folder / "model.safetensors", classifier)
    return Learned(model=classifier, best=row, history=[row])


@dataclass
class Climb:
    """The ladder, and what was learned on it so far.

    Attributes:
        folder: the run folder.
        data: the images.
        learned: what validates best so far.
        ladder: the rungs from the ground.
    """

    folder: Path
    data: Dataset
    learned: Learned
    ladder: list[Rung]

    def __post_init__(self) -> None:
        """The last rung is the one to beat."""
        self.best = self.ladder[-1]

    def finetune(self, depth: str, recipe: Recipe) -> bool:
        """Train a copy of the best model by gradient; keep it if it validates no worse.

        Args:
            depth: `head`, `last` or `all`.
            recipe: complete.

        Returns:
            whether this was worth its time, so that the next rung may be as well.
        """
        assert recipe.batch_size
        started, rows_before = time.perf_counter(), len(self.learned.history)
        model = copy.deepcopy(self.learned.model)
        assert isinstance(model.network, LibraryNetwork)
        live = norms_live(recipe.norms, depth, batch_size=recipe.batch_size, images=len(self.data.split.train))
        freeze(model.network, depth, live_norms=live)
        tuned = learn(self.folder, model, self.data, recipe, before=self.learned)

        rows = tuned.history[rows_before:]
        self.learned = replace(self.learned, history=tuned.history, interrupted=tuned.interrupted)
        if not rows or tuned.best is self.learned.best:
            if rows:
                top, count = max(row.valid_accuracy for row in rows), self.best.accuracy.n
                seconds = round(time.perf_counter() - started, 3)
                self.ladder.append(Rung(RUNGS[depth], proportion(round(top * count), count), seconds, self.best.hits))
            return False
        labels = self.data.samples.labels[self.data.split.valid]
        seen = outputs_on("valid", tuned.model, self.data)
        rung = Rung.of(RUNGS[depth], seen.logits.argmax(dim=1).numpy(), labels, time.perf_counter() - started)
        self.ladder.append(rung)
        if rung.hits.sum() < self.best.hits.sum():  # the number type of training made it look better than it is
            return False
        before, self.best, self.learned = self.best, rung, tuned
        return not tuned.interrupted and chance_better(rung.hits, than=before.hits) >= WORTHWHILE_PROBABILITY


def answer(part: str, learned: Learned, data: Dataset, weights: Weights) -> Outputs:
    """Give what a model says about `valid` or `test`: by its features where only the head was learned."""
    model = learned.model
    if learned.best.epoch:
        return outputs_on(part, model, data)
    rows = data.split.part(part)
    logits = _logits(model, extract_features(model, data, rows, weights.sha256))
    return Outputs(logits.clone(), torch.from_numpy(data.samples.labels[rows]), torch.from_numpy(rows))


def _scores(classifier: Classifier, seen: Features, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Give mean cross entropy and accuracy of a head on features."""
    wanted, logits = torch.from_numpy(labels), _logits(classifier, seen)
    right = (logits.argmax(dim=1) == wanted).double().mean().item()
    return functional.cross_entropy(logits, wanted).item(), right


def _logits(classifier: Classifier, seen: Features) -> Tensor:
    """Give what the head says of features, float32 `[n, K]`, on the CPU."""
    network = classifier.network
    assert isinstance(network, LibraryNetwork)
    with torch.inference_mode():
        logits: Tensor = network.head(torch.from_numpy(np.array(seen)).to(classifier.mean.device)).cpu()
    return logits
