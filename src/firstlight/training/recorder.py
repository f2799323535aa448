"""What a run shows while it trains: metrics.csv, TensorBoard events, and the best model so far."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any

from firstlight.errors import TrainingError
from firstlight.models.model_file import save_model
from firstlight.runs.folder import MODEL_FILE, TENSORBOARD_FOLDER, write_metrics
from firstlight.runtime.interrupts import holding_interrupts, raise_if_interrupted
from firstlight.runtime.memory import is_out_of_gpu_memory, is_out_of_memory
from firstlight.training.checkpoints import Checkpoints
from firstlight.training.state import Epoch, Step, TrainState

OUT_OF_MEMORY = "epoch {epoch}: memory ran out; use a smaller `batch_size`, a smaller `img_size`, or a smaller `model`"

_watch: ContextVar[Callable[[Step | Epoch], None]] = ContextVar("watch", default=lambda _event: None)


@contextmanager
def watched_by(watch: Callable[[Step | Epoch], None]) -> Iterator[None]:
    """Call `watch` with each step and epoch of what is trained within the block, once it is recorded.

    What it raises ends training, as a search does with a run that is not worth finishing.
    """
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def record(
    events: Iterable[Step | Epoch], state: TrainState, folder: Path, checkpoints: Checkpoints | None = None
) -> bool:
    """Record every epoch as it comes, save the model whenever it is the best so far, and write checkpoints.

    Ctrl-C and SIGTERM wait until a step is over and what it has led to is saved; a second one does not wait.
    If that comes in the middle of a step, which may have changed half of the weights, the last checkpoint stays.

    Args:
        events: what happens while `state` is trained.
        state: what they change.
        folder: the run folder; `metrics.csv`, `model.safetensors` and `tensorboard/` are written.
        checkpoints: where the state is written; None if it is not to be kept.

    Returns:
        whether Ctrl-C ended training early.

    Raises:
        KeyboardInterrupt: if that came before there was anything to keep.
        TrainingError: if the loss is no longer a number, or memory runs out; the best model so far stays in the run
            folder.
    """
    is_between_steps, watch = False, _watch.get()
    try:
        with tensorboard_writer(folder) as tensorboard, holding_interrupts():
            for event in events:
                is_between_steps = True
                if isinstance(event, Epoch):
                    write_metrics(folder, [asdict(row) for row in state.rows])
                    add_row(tensorboard, event)
                    if state.best == event:
                        save_model(folder / MODEL_FILE, state.best_classifier())
                if checkpoints:
                    checkpoints.offer(state, epoch_is_over=isinstance(event, Epoch))
                raise_if_interrupted()
                watch(event)
                is_between_steps = False
            is_between_steps = True
    except KeyboardInterrupt:
        if checkpoints and is_between_steps and (state.best or checkpoints.has_written):
            checkpoints.finish(state)
        if state.best is None:
            raise
        write_metrics(folder, [asdict(row) for row in state.rows])  # Ctrl-C may have come before the last one was
        return True
    except (TrainingError, MemoryError, RuntimeError) as error:
        if not isinstance(error, TrainingError) and not is_out_of_memory(error) and not is_out_of_gpu_memory(error):
            raise
        reason = error if isinstance(error, TrainingError) else OUT_OF_MEMORY.format(epoch=state.epoch)
        saved = f"; the model of epoch {state.best.epoch} is kept in {folder / MODEL_FILE}" if state.best else ""
        raise TrainingError(f"{reason}{saved}") from None
    return False


def record_again(state: TrainState, folder: Path) -> None:
    """Record the epochs of a state that training continues from, in place of whatever was recorded after it."""
    shutil.rmtree(folder / TENSORBOARD_FOLDER, ignore_errors=True)
    if state.best is None:
        return
    with tensorboard_writer(folder) as tensorboard:
        for row in state.rows:
            if row.epoch:  # epoch 0 is no epoch of training
                add_row(tensorboard, row)
    write_metrics(folder, [asdict(row) for row in state.rows])
    save_model(folder / MODEL_FILE, state.best_classifier())


def add_row(tensorboard: Any, row: Epoch) -> None:
    """Add the numbers of an epoch to TensorBoard's events."""
    for name, value in asdict(row).items():
        tensorboard.add_scalar(name, value, row.epoch)


@contextmanager
def tensorboard_writer(folder: Path) -> Iterator[Any]:
    """Open a writer of TensorBoard events in the run folder."""
    from torch.utils.tensorboard.writer import SummaryWriter

    writer = SummaryWriter(str(folder / TENSORBOARD_FOLDER))
    try:
        yield writer
    finally:
        writer.close()
