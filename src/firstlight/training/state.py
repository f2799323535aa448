"""The state of training: everything needed to stop after any step and resume exactly.

All randomness is a function of (seed, epoch, sample), so no random generator has to be part of it.
"""

import copy
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from firstlight.models.classifier import Classifier
from firstlight.models.library_network import LibraryNetwork
from firstlight.training.answers import Answers
from firstlight.training.layer_decay import layer_schedules
from firstlight.training.optim import MovingAverage, Optimizer, build_optimizers
from firstlight.training.recipe import Recipe


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch: a row of `metrics.csv`.

    Losses are in nats, the accuracy is 0 to 1, `seconds` count from the start of training.
    """

    epoch: int
    seconds: float
    lr: float
    train_loss: float
    valid_loss: float
    valid_accuracy: float


class Step(NamedTuple):
    """One finished training step: its epoch and its number in it, both from 1."""

    epoch: int
    step: int


def is_better(row: Epoch, than: Epoch) -> bool:
    """Return whether an epoch did better on validation: by accuracy, and by log loss between equals."""
    return (row.valid_accuracy, -row.valid_loss) > (than.valid_accuracy, -than.valid_loss)


@dataclass(frozen=True)
class Learned:
    """The result of training.

    Attributes:
        model: the classifier after its best epoch on validation.
        best: that epoch; 0 is a pretrained network with the exact head, before any epoch.
        rows: of all epochs.
        interrupted: whether Ctrl-C ended training early.
        answers: what the network answered about each training image in the first half; None if nothing was trained.
        notes: about how it was trained, for people.
        failure: why training ended before its time, such as a loss that is no longer a number; empty if it did not.
    """

    model: Classifier
    best: Epoch
    rows: list[Epoch]
    interrupted: bool = False
    answers: Answers | None = None
    notes: tuple[str, ...] = ()
    failure: str = ""


@dataclass
class TrainState:
    """Where training stands.

    Attributes:
        classifier: what is trained, on its device.
        optimizers: theirs are the learning rates and the moments of each parameter.
        average: the moving average of the weights; None if there is none.
        epoch: the open epoch, from 1.
        step: how many steps of the open epoch are done.
        losses: of those steps, on the device.
        lr: the learning rate of the last step.
        seconds: spent on training so far.
        rows: of the epochs that are over, those of earlier training in the same run included.
        epochs_before: how many epochs were over before this training began; `seconds_before`, how many seconds.
        kept: the best epoch on validation so far, with the state of the classifier that was scored after it; None if
            no epoch is over.
        answers: about the training images so far; None before the first step.
        parts: in how many parts each batch is computed, because memory does not take it at once.
    """

    classifier: Classifier
    optimizers: list[Optimizer]
    average: MovingAverage[Classifier] | None = None
    epoch: int = 1
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)
    lr: float = 0.0
    seconds: float = 0.0
    rows: list[Epoch] = field(default_factory=list)
    epochs_before: int = 0
    seconds_before: float = 0.0
    kept: tuple[Epoch, dict[str, Tensor]] | None = None
    answers: Answers | None = None
    parts: int = 1

    @classmethod
    def begin(cls, classifier: Classifier, recipe: Recipe, earlier: Learned | None = None) -> Self:
        """Return the state before the first step.

        Args:
            classifier: on its device; it will be changed.
            recipe: complete.
            earlier: what was trained before in the same run: its rows come first, and its best epoch stays the best
                until another one is better.
        """
        schedules = {}
        if recipe.model.is_pretrained:
            gradual = recipe.transfer.unfreeze == "gradual"
            assert isinstance(classifier.network, LibraryNetwork)
            schedules = layer_schedules(classifier.network.body, recipe.transfer.layer_decay, gradual=gradual)
        state = cls(classifier, build_optimizers(classifier.network, recipe.optimization, schedules))
        if recipe.optimization.ema:
            state.average = MovingAverage(classifier, recipe.optimization.ema)
        if earlier is not None:
            state.rows, state.kept = list(earlier.rows), (earlier.best, _copied(earlier.model.state_dict()))
            state.epochs_before, state.seconds_before = earlier.rows[-1].epoch, earlier.rows[-1].seconds
        return state

    @property
    def best(self) -> Epoch | None:
        """The best epoch on validation so far; None if none is over."""
        return self.kept[0] if self.kept else None

    @property
    def scored(self) -> Classifier:
        """The classifier that is scored: the averaged one if there is one."""
        return self.average.model if self.average else self.classifier

    def end_epoch(self, row: Epoch) -> None:
        """Add the row of the open epoch, remember the weights if it is the best one, and open the next epoch."""
        self.rows.append(row)
        if self.best is None or is_better(row, self.best):
            self.kept = row, _copied(self.scored.state_dict())  # in one assignment: Ctrl-C may come at any time
        self.epoch, self.step, self.losses = self.epoch + 1, 0, []

    def best_classifier(self) -> Classifier:
        """Return a copy of the classifier with the weights of the best epoch."""
        assert self.kept is not None, "no epoch is over"
        classifier = copy.deepcopy(self.classifier)
        classifier.load_state_dict(self.kept[1])
        return classifier

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that changes, as tensors, numbers and plain containers of them.

        Parameters, their moments and buffers go by their names, so the order of parameters does not matter.
        """
        names = self._names()
        return {
            "weights": _copied(self.classifier.state_dict()),
            "average": None if self.average is None else _copied(self.average.model.state_dict()),
            "updates": 0 if self.average is None else self.average.updates,
            "optimizers": [optimizer.state_dict(names) for optimizer in self.optimizers],
            "epoch": self.epoch,
            "step": self.step,
            "losses": torch.stack(self.losses).cpu() if self.losses else torch.zeros(0),
            "lr": self.lr,
            "seconds": self.seconds,
            "parts": self.parts,
            "rows": [asdict(row) for row in self.rows],
            "epochs_before": self.epochs_before,
            "seconds_before": self.seconds_before,
            "best": None if self.kept is None else asdict(self.kept[0]),
            "answers": None if self.answers is None else self.answers.state_dict(),
            "best_weights": None if self.kept is None else _copied(self.kept[1]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        The recipe must be the same, and the classifier too, with the same layers frozen.
        """
        names = self._names()
        self.classifier.load_state_dict(state["weights"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
            self.average.updates = state["updates"]
        for optimizer, its_state in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(its_state, names)
        answers, device = state["answers"], self.classifier.mean.device
        self.answers = None if answers is None else Answers.from_state(answers, device)
        self.epoch, self.step, self.lr, self.seconds = state["epoch"], state["step"], state["lr"], state["seconds"]
        self.parts = state.get("parts", 1)
        self.losses = list(state["losses"].to(device))
        self.rows = [Epoch(**row) for row in state["rows"]]
        self.epochs_before, self.seconds_before = state["epochs_before"], state["seconds_before"]
        self.kept = None if state["best"] is None else (Epoch(**state["best"]), _copied(state["best_weights"]))

    def _names(self) -> dict[int, str]:
        return {id(weights): name for name, weights in self.classifier.network.named_parameters()}


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
