"""What a forked process that trains does besides: it notes its progress, and may have planted faults."""

import mmap
import struct
import sys
import time
from typing import Any


class Progress:
    """How far the training of a forked process has come, and when, in memory that its parent sees."""

    RECORD, MOST = struct.Struct("qqd"), 100_000

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, self.RECORD.size * (self.MOST + 1))

    def clear(self) -> None:
        """Forget everything."""
        self.RECORD.pack_into(self._memory, 0, 0, 0, 0.0)

    def note(self, epoch: int, step: int) -> None:
        """Note that training has come to this step now."""
        count = self.RECORD.unpack_from(self._memory, 0)[0] + 1
        self.RECORD.pack_into(self._memory, self.RECORD.size * count, epoch, step, time.perf_counter())
        self.RECORD.pack_into(self._memory, 0, count, 0, 0.0)

    def all(self) -> list[tuple[int, int, float]]:
        """Return every step that was noted, with its epoch and when it was."""
        count = self.RECORD.unpack_from(self._memory, 0)[0]
        return [self.RECORD.unpack_from(self._memory, self.RECORD.size * (1 + number)) for number in range(count)]


def watch_progress(progress: Progress) -> None:
    """Note how far training has come whenever a checkpoint is offered."""
    from firstlight.training import recorder
    from firstlight.training.checkpoints import Checkpoints

    beaten, restore = recorder.beaten, Checkpoints.restore

    def beaten_and_noted(heartbeat: Any, state: Any, *given: Any, **more: Any) -> int:
        progress.note(state.epochs_before + state.epoch, state.step)
        return beaten(heartbeat, state, *given, **more)

    def restored_and_noted(self: Checkpoints, state: Any) -> bool:
        result = restore(self, state)
        progress.note(state.epochs_before + state.epoch, state.step)
        return result

    recorder.beaten = beaten_and_noted
    Checkpoints.restore = restored_and_noted  # type: ignore[method-assign]


def count_time() -> None:
    """Let training read a clock that ticks when it is read, so that a time limit is reached at the same step."""
    from firstlight.runtime.distributed import Heartbeat

    ticks = iter(range(10**9))
    Heartbeat.clock = lambda _self: next(ticks) / 1024  # type: ignore[method-assign]  # exact, so that sums of them are


def leave_figures_out() -> None:
    """Write a report of one word, and draw nothing."""
    from firstlight.files import write_text

    module = sys.modules["firstlight.api.train"]
    module.draw_run = lambda _folder: []  # type: ignore[attr-defined]
    module.write_run_report = lambda folder: write_text(folder / "report.html", "report")  # type: ignore[attr-defined]


def forget(part: str) -> None:
    """Forget a part of the state when training goes on: a control, with which the comparison has to fail."""
    from firstlight.training.state import TrainState

    whole = TrainState.load_state_dict

    def forgetful(state: TrainState, found: dict[str, Any]) -> None:
        fresh = state.state_dict()
        whole(state, found | {name: fresh[name] for name in part.split(",")})

    TrainState.load_state_dict = forgetful  # type: ignore[method-assign]
