"""What a run shows while it trains: metrics.csv, TensorBoard events, and the best model so far."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any

from firstlight.errors import RunError, TrainingError
from firstlight.models.model_file import save_model
from firstlight.runs.folder import MODEL_FILE, TENSORBOARD_FOLDER, write_metrics
from firstlight.runtime.distributed import Heartbeat, LostError, is_lost, world
from firstlight.runtime.interrupts import held_signal, holding_interrupts, stop_by
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
    events: Iterable[Step | Epoch],
    state: TrainState,
    folder: Path,
    checkpoints: Checkpoints | None = None,
    heartbeat: Heartbeat | None = None,
) -> bool:
    """Record every epoch as it comes, save the model whenever it is the best so far, and write checkpoints.

    Ctrl-C and SIGTERM wait until a step is over and what it has led to is saved; a second one does not wait.
    If that comes in the middle of a step, which may have changed half of the weights, the last checkpoint stays.

    Of several processes that train together, only rank 0 writes, and all stop after the same step.

    Args:
        events: what happens while `state` is trained.
        state: what they change.
        folder: the run folder; `metrics.csv`, `model.safetensors` and `tensorboard/` are written.
        checkpoints: where the state is written; None if it is not to be kept.
        heartbeat: what keeps the processes together.

    Returns:
        whether Ctrl-C ended training early.

    Raises:
        KeyboardInterrupt: if that came before there was anything to keep.
        TrainingError: if the loss is no longer a number, or memory runs out; the best model so far stays in the run
            folder.
        LostError: if another process has ended.
    """
    is_between_steps, watch, heartbeat = False, _watch.get(), heartbeat or Heartbeat()
    try:
        with tensorboard_writer(folder) as tensorboard, holding_interrupts():
            for event in events:
                is_between_steps = world().size == 1
                if isinstance(event, Epoch):
                    record_epoch(event, state, folder, tensorboard)
                if stop := beaten(heartbeat, state, checkpoints, epoch_is_over=isinstance(event, Epoch)):
                    is_between_steps = True
                    stop_by(stop)
                watch(event)
                is_between_steps = False
            is_between_steps = True
    except KeyboardInterrupt as stop:
        if is_lost(stop.__context__):
            raise LostError from stop
        if checkpoints and is_between_steps:
            checkpoints.finish(state)
        if state.best is None:
            raise
        if world().is_leader:  # Ctrl-C may have come before the last row was written
            write_metrics(folder, [asdict(row) for row in state.rows])
        return True
    except (TrainingError, MemoryError, RuntimeError) as error:
        raise ended_by(error, state, folder) from None
    return False


def beaten(heartbeat: Heartbeat, state: TrainState, checkpoints: Checkpoints | None, *, epoch_is_over: bool) -> int:
    """Save the state if it is time to; return the signal by which all processes stop now, or 0."""
    due = checkpoints is not None and checkpoints.is_due(epoch_is_over=epoch_is_over)
    stop, save = heartbeat.beat(held_signal(), save=due)
    if checkpoints is not None and save:
        checkpoints.save(state)
    return stop


def ended_by(error: Exception, state: TrainState, folder: Path) -> Exception:
    """Return what training ends with because of an error, in words that say what is kept; a mistake of ours as it is.

    If memory runs out in one of several processes, the others cannot go on; that is no `TrainingError`, after which
    they might.
    """
    if not isinstance(error, TrainingError) and not is_out_of_memory(error) and not is_out_of_gpu_memory(error):
        return error
    reason = error if isinstance(error, TrainingError) else OUT_OF_MEMORY.format(epoch=state.epoch)
    saved = f"; the model of epoch {state.best.epoch} is kept in {folder / MODEL_FILE}" if state.best else ""
    kind = TrainingError if world().size == 1 or isinstance(error, TrainingError) else RunError
    return kind(f"{reason}{saved}")


def record_epoch(row: Epoch, state: TrainState, folder: Path, tensorboard: Any) -> None:
    """Write the row of an epoch, and the model if it is the best so far."""
    if world().is_leader:
        write_metrics(folder, [asdict(row) for row in state.rows])
        add_row(tensorboard, row)
        if state.best == row:
            save_model(folder / MODEL_FILE, state.best_classifier())


def record_again(state: TrainState, folder: Path) -> None:
    """Record the epochs of a state that training continues from, in place of whatever was recorded after it."""
    if not world().is_leader:
        return
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
    """Open a writer of TensorBoard events in the run folder; None in a process that does not write."""
    if not world().is_leader:
        yield None
        return
    from torch.utils.tensorboard.writer import SummaryWriter

    writer = SummaryWriter(str(folder / TENSORBOARD_FOLDER))
    try:
        yield writer
    finally:
        writer.close()
