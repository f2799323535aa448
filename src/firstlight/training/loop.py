"""The training loop: visible, read from top to bottom; it yields a row an epoch and calls nobody back."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstlight.data.augment import Augment
from firstlight.data.loader import Loader
from firstlight.errors import TrainingError
from firstlight.evaluation.evaluate import collect
from firstlight.models.classifier import Classifier
from firstlight.progress import progress
from firstlight.runtime.device import autocast, pick_dtype
from firstlight.runtime.seeds import derive_seed
from firstlight.training.optim import SCHEDULES, MovingAverage, build_optimizers, set_lr
from firstlight.training.recipe import Recipe

CHECK_EVERY = 50  # steps between looks at the loss; each look makes the processor wait for the device


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave: a row of `metrics.csv`.

    Losses are in nats, the accuracy is a share, `seconds` count from the beginning of training.
    """

    epoch: int
    seconds: float
    lr: float
    train_loss: float
    valid_loss: float
    valid_accuracy: float


def train(  # noqa: C901 - one page that is read from top to bottom, on purpose
    classifier: Classifier, train_loader: Loader, valid_loader: Loader, recipe: Recipe
) -> Iterator[tuple[Epoch, Classifier]]:
    """Train in place, epoch by epoch.

    Args:
        classifier: on its device; its weights change.
        train_loader: shuffled batches.
        valid_loader: batches in order, to choose the best epoch by.
        recipe: a complete recipe.

    Yields:
        The epoch's row, and the classifier it scores, which is the averaged one if `recipe.ema` is set.

    Raises:
        TrainingError: if a loss is no longer a number; it names the batch, or the epoch if it is the validation loss.
    """
    assert recipe.epochs and recipe.warmup is not None and recipe.label_smoothing is not None
    device = classifier.mean.device
    dtype = pick_dtype(device, recipe.dtype)
    augment = Augment(**{choice.name: getattr(recipe, choice.name) for choice in fields(Augment)})
    optimizers = build_optimizers(classifier.network, recipe)
    schedule = SCHEDULES[recipe.schedule]
    class_weights = None
    if recipe.balance == "weights":
        class_weights = balanced_weights(train_loader.labels, len(classifier.classes)).to(device)
    average = MovingAverage(classifier, recipe.ema) if recipe.ema else None
    run_network = torch.compile(classifier) if recipe.compile else classifier
    steps, started = len(train_loader) * recipe.epochs, time.perf_counter()

    def fraction_done(step: int) -> float:
        """How much of the run is over, 0 to 1: by steps, or by the clock if that runs out first."""
        by_clock = (time.perf_counter() - started) / recipe.time_limit if recipe.time_limit else 0.0
        return min(1.0, max(step / steps, by_clock))

    with progress("training", steps) as advance:
        for epoch in range(1, recipe.epochs + 1):
            losses: list[Tensor] = []
            classifier.train()
            for number, batch in enumerate(train_loader.epoch(epoch), start=1):
                done = fraction_done((epoch - 1) * len(train_loader) + number - 1)
                if done >= 1.0 and losses:
                    break
                set_lr(optimizers, schedule(done, recipe.warmup), done)
                images, targets = augment(
                    batch.images, batch.labels, batch.rows,
                    seed=recipe.seed, epoch=epoch, num_classes=len(classifier.classes),
                )  # fmt: skip
                with seeded(recipe.seed, epoch, number, device), autocast(device, dtype):
                    logits = run_network(images)
                loss = functional.cross_entropy(
                    logits, targets, weight=class_weights, label_smoothing=recipe.label_smoothing
                )
                classifier.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                if recipe.clip:
                    nn.utils.clip_grad_norm_(classifier.parameters(), recipe.clip)
                for optimizer in optimizers:
                    optimizer.step()
                if average:
                    average.update(classifier)
                losses.append(loss.detach())
                if number % CHECK_EVERY == 0:
                    require_finite(losses, epoch)
                advance()
            train_loss = require_finite(losses, epoch)

            # note: what follows is the look at the validation split, by which the best epoch is chosen
            scored = average.model if average else classifier
            with autocast(device, dtype):
                outputs = collect(scored, valid_loader.epoch())
            row = Epoch(
                epoch=epoch,
                seconds=round(time.perf_counter() - started, 3),
                lr=optimizers[-1].param_groups[-1]["lr"],
                train_loss=train_loss,
                valid_loss=functional.cross_entropy(outputs.logits, outputs.labels).item(),
                valid_accuracy=(outputs.logits.argmax(dim=1) == outputs.labels).double().mean().item(),
            )
            if not math.isfinite(row.valid_loss):
                raise TrainingError(f"epoch {epoch}: the validation loss is {row.valid_loss}; take a smaller --lr")
            advance(0, f"epoch {epoch}/{recipe.epochs}  loss {train_loss:.3f}  valid {row.valid_accuracy:.2%}")
            yield row, scored
            if fraction_done(epoch * len(train_loader)) >= 1.0:
                return


@contextmanager
def seeded(seed: int, epoch: int, step: int, device: torch.device) -> Iterator[None]:
    """Let dropout depend on (seed, epoch, step) alone, and leave the global generators as they were."""
    number = derive_seed(seed, "dropout", epoch, step)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(number)
        if device.type != "cpu":
            getattr(torch, device.type).manual_seed(number)
        yield


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Weigh each class by the inverse of its share in `labels`, float32 `[K]`, so that the average weight is 1."""
    counts = torch.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * counts.clamp_min(1))).float()


def require_finite(losses: list[Tensor], epoch: int) -> float:
    """Give the mean loss of an epoch's steps so far.

    Raises:
        TrainingError: if one of them is not a number; the message names the first such batch.
    """
    values = torch.stack(losses)
    broken = torch.nonzero(~values.isfinite())
    if len(broken):
        raise TrainingError(
            f"epoch {epoch}, batch {int(broken[0]) + 1}: the loss is {values[broken[0]].item()}, so training stopped; "
            f"take a smaller --lr, or set --clip 1"
        )
    return values.mean().item()
