"""The training loop, to be read from top to bottom: a generator of steps and epochs, without callbacks."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstlight.data.loader import Loader
from firstlight.data.randomness import SampleRandom
from firstlight.errors import TrainingError
from firstlight.inference.collect import collect_together
from firstlight.models.classifier import Classifier
from firstlight.models.dropout import KeyedDropout
from firstlight.progress import announce, keep, progress
from firstlight.runtime.device import autocast, pick_dtype
from firstlight.runtime.distributed import world
from firstlight.runtime.seeds import derive_seed
from firstlight.training.answers import ANSWERS_COUNT_UNTIL, Answers
from firstlight.training.data_parallel import DataParallel
from firstlight.training.gradient import CrossEntropy, Given
from firstlight.training.optim import SCHEDULES, set_lr
from firstlight.training.recipe import Recipe
from firstlight.training.state import Epoch, Step, TrainState

LOSS_CHECK_STEPS = 50  # between checks that the loss is finite; each makes the processor wait for the device


def train_epochs(  # noqa: C901, PLR0915 - one page that is read from top to bottom, on purpose
    state: TrainState,
    train_loader: Loader,
    valid_loader: Loader,
    recipe: Recipe,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Step | Epoch]:
    """Train until the recipe's epochs, time, or patience run out.

    Whoever iterates may stop at any time, keep `state.state_dict()`, and go on later from there: the result has the
    same bits.

    Several processes train together as one would: each computes its share of every batch, and nothing but the order in
    which shares are added depends on how many there are. So the bits are the same for the same number of processes, and
    between numbers the losses of the first steps differ by rounding: by less than 1e-5 in float32, over six steps of
    small networks (tests). Later on, rounding grows as training makes small differences grow, as it does
    between two machines.

    Args:
        state: where training stands; it is changed in place.
        train_loader: shuffled batches.
        valid_loader: batches in order, which decide which epoch is the best.
        recipe: complete.
        clock: returns seconds; `state.seconds` is read against it.

    Yields:
        a `Step` after every step, and an `Epoch` after every epoch, once it is in `state`.

    Raises:
        TrainingError: if a loss is no longer a number; it names the batch, or the epoch if it is the validation loss.
    """
    choices, augment, seed = recipe.optimization, recipe.augmentation, recipe.seed
    assert choices.epochs and choices.warmup is not None and choices.label_smoothing is not None
    classifier, optimizers = state.classifier, state.optimizers
    num_classes, device = len(classifier.classes), classifier.mean.device
    dtype = pick_dtype(device, choices.dtype)
    schedule = SCHEDULES[choices.schedule]
    class_weights = None
    if choices.balance == "weights":
        class_weights = balanced_weights(train_loader.labels, num_classes).to(device)
    cross_entropy = CrossEntropy(class_weights, choices.label_smoothing)
    compiled = torch.compile(classifier) if choices.compile else classifier
    processes = DataParallel(classifier, world(), compiled=choices.compile)  # as a rule, this one alone
    dropout = KeyedDropout(classifier.network, seed, compiled=choices.compile)

    def run_network(images: Tensor, keys: Tensor) -> Tensor:
        with autocast(device, dtype), dropout.of(keys), processes.synced():
            logits: Tensor = compiled(images)
        return logits

    if state.answers is None:
        state.answers = Answers(train_loader.rows, num_classes, device)
    total_steps, started = len(train_loader) * choices.epochs, clock() - state.seconds

    def fraction_done() -> float:
        """Return the fraction of the run that is over, 0 to 1: by steps, or by the clock if time runs out first."""
        by_steps = ((state.epoch - 1) * len(train_loader) + state.step) / total_steps
        by_clock = (clock() - started) / choices.time_limit if choices.time_limit else 0.0
        return min(1.0, max(by_steps, by_clock))

    with processes, progress("training", total_steps, "steps") as advance:
        advance((state.epoch - 1) * len(train_loader) + state.step)
        # note: an epoch that is open is finished, whether or not it was begun here
        while (state.epoch == 1 or state.step or fraction_done() < 1.0) and not out_of_patience(
            state, choices.patience
        ):
            epoch = state.epoch
            advance(0, f"training, epoch {epoch} of {choices.epochs}")
            classifier.train()
            for number, batch in enumerate(train_loader.epoch(epoch, start=state.step), start=state.step + 1):
                done = fraction_done()
                if done >= 1.0 and state.losses:
                    break
                set_lr(optimizers, schedule(done, choices.warmup), done)
                images, targets = augment(
                    batch.images, batch.labels, batch.rows, seed=seed, epoch=epoch, num_classes=num_classes
                )
                keys = SampleRandom(batch.rows, seed, epoch).words("dropout")
                loss, logits, parts = processes.backward(
                    run_network, Given(images, keys, targets), cross_entropy, batch.whole,
                    attempting=partial(seeded, seed, epoch, number, device), parts=state.parts,
                )  # fmt: skip
                if parts > state.parts:
                    state.parts = parts
                    announce(in_parts(len(images), parts))
                answers = processes.gather(batch, loss, logits)
                if choices.clip:
                    nn.utils.clip_grad_norm_(classifier.parameters(), choices.clip)
                for optimizer in optimizers:
                    optimizer.step()
                if state.average:
                    state.average.update(classifier)
                loss, logits, rows = answers()
                state.losses.append(loss)
                if epoch == 1 or done < ANSWERS_COUNT_UNTIL:
                    state.answers.add(rows, logits)
                state.step, state.lr, state.seconds = number, optimizers[-1].param_groups[-1]["lr"], clock() - started
                if number % LOSS_CHECK_STEPS == 0:
                    mean_loss(state.losses, epoch)
                advance()
                yield Step(epoch, number)
            train_loss = mean_loss(state.losses, epoch)
            with autocast(device, dtype):
                valid_loss, valid_accuracy = score(state.scored, valid_loader)
            if not math.isfinite(valid_loss):
                raise TrainingError(f"epoch {epoch}: the validation loss is {valid_loss}; use a smaller `lr`")
            state.seconds = clock() - started
            row = Epoch(
                epoch=state.epochs_before + epoch,
                seconds=round(state.seconds_before + state.seconds, 3),
                lr=state.lr,
                train_loss=train_loss,
                valid_loss=valid_loss,
                valid_accuracy=valid_accuracy,
            )
            state.end_epoch(row)
            keep(
                f"epoch {row.epoch:>3}  train loss {train_loss:.3f}  valid loss {valid_loss:.3f}  "
                f"valid accuracy {valid_accuracy:.3f}"
            )
            yield row


def score(classifier: Classifier, loader: Loader) -> tuple[float, float]:
    """Return mean cross entropy in nats, and accuracy 0 to 1: validation, by which the best epoch is chosen."""
    outputs = collect_together(classifier, loader)
    loss = functional.cross_entropy(outputs.logits, outputs.labels).item()
    accuracy = (outputs.logits.argmax(dim=1) == outputs.labels).double().mean().item()
    loss, accuracy = world().from_leader((loss, accuracy))  # another kind of processor may round otherwise
    return loss, accuracy


def in_parts(batch_size: int, parts: int) -> str:
    """Return a line for people about batches that are computed in parts."""
    return (
        f"a batch of {batch_size:,} pictures does not fit into the memory of the GPU, so each is computed in {parts} "
        "parts; only batch normalization can tell the difference"
    )


def out_of_patience(state: TrainState, patience: int | None) -> bool:
    """Return whether this many epochs have passed without a better one."""
    if patience is None or state.best is None or state.epoch == 1:
        return False
    return state.rows[-1].epoch - max(state.best.epoch, state.epochs_before) >= patience


@contextmanager
def seeded(seed: int, epoch: int, step: int, device: torch.device) -> Iterator[None]:
    """Seed what draws inside of the network, other than layers of dropout; leave the global generators as they were."""
    number = derive_seed(seed, "dropout", epoch, step)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(number)
        if device.type != "cpu":
            getattr(torch, device.type).manual_seed(number)
        yield


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return a weight for each class, the inverse of its frequency in `labels`, float32 `[K]`; their average is 1."""
    counts = torch.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * counts.clamp_min(1))).float()


def mean_loss(losses: list[Tensor], epoch: int) -> float:
    """Return the mean loss of an epoch's steps so far.

    Raises:
        TrainingError: if one of them is not a number; the message names the first such batch.
    """
    values = torch.stack(losses)
    broken = torch.nonzero(~values.isfinite())
    if len(broken):
        raise TrainingError(
            f"epoch {epoch}, batch {int(broken[0]) + 1}: the loss is {values[broken[0]].item()}, so training stopped; "
            "use a smaller `lr`, or set `clip` to 1"
        )
    return values.mean().item()
