"""Write the state of training into the run folder from time to time, in the background, from a copy.

Of several processes that train together, rank 0 decides when, and writes; all copy, as each holds a part of the state.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from firstlight.errors import RunError
from firstlight.runs.folder import LAST_FOLDER
from firstlight.runs.last import read_numbers, read_state, state_file, write_state
from firstlight.runs.sent import sent
from firstlight.runtime.distributed import world
from firstlight.training.state import TrainState

MAX_SHARE = 0.02  # of the time, that copies and writing may take together; the rest of 3% is for what they disturb
SAVE_EVERY = 5.0  # minutes


class Checkpoints:
    """The state of one part of a run, which trains a network; a context manager.

    Args:
        folder: the run folder.
        part: the name of the part, such as `training`.
        save_every: minutes; after this time a new state is in the folder. After epochs it is written as often as that
            is cheap.
        time_limit: of this part, in seconds; None if there is none.
        clock: returns seconds.
    """

    def __init__(
        self,
        folder: Path,
        part: str,
        *,
        save_every: float = SAVE_EVERY,
        time_limit: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.part = folder, part
        self.time_limit = time_limit
        self._every, self._clock = 60 * save_every, clock
        self._last, self._cost = clock(), 0.0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown(wait=True)

    @property
    def has_written(self) -> bool:
        """Whether the run folder holds a state of this part."""
        return state_file(self.folder, self.part).is_file()

    def restore(self, state: TrainState) -> bool:
        """Continue from the state in the run folder, if there is one; return whether there was.

        Args:
            state: before its first step; it is changed, and `time_limit` becomes what it was when the part began.

        Raises:
            RunError: if the state is damaged.
        """
        with sent(self.folder, f"{LAST_FOLDER}/{self.part}.safetensors") as folder:
            found = read_state(folder, self.part)
        if found is None:
            return False
        state.load_state_dict(found["training"])
        self.time_limit = found["time_limit"]
        return True

    def is_due(self, *, epoch_is_over: bool) -> bool:
        """Return whether it is time to write the state, and the one before is written.

        Raises:
            OSError: if the one before could not be written.
        """
        if not world().is_leader:
            return False
        if self._writing is not None:
            if not self._writing.done():
                return False
            self._cost, self._writing = self._writing.result(), None
        waited = self._clock() - self._last
        return waited >= self._every - self._cost or (epoch_is_over and waited * MAX_SHARE >= self._cost)

    def save(self, state: TrainState) -> None:
        """Write the state in the background."""
        started = self._clock()
        copy = self._copy(state)
        if not world().is_leader:
            return
        copied = self._clock() - started
        self._last = started
        self._writing = self._writer.submit(self._write, copy, copied)

    def finish(self, state: TrainState) -> None:
        """Write the state now, and wait until it is written, if there is anything to keep, such as an epoch.

        Raises:
            OSError: if it cannot be written.
        """
        if world().size == 1 and state.best is None and not self.has_written:
            return
        copy = self._copy(state)
        if not world().is_leader:
            return
        if self._writing is not None:
            self._writing.result()
            self._writing = None
        self._write(copy, 0.0)

    def _copy(self, state: TrainState) -> dict[str, Any]:
        return {"training": state.state_dict(), "time_limit": self.time_limit}

    def _write(self, copy: dict[str, Any], seconds_before: float) -> float:
        """Write a copy, and return how many seconds all of it took; the one before stays if training has diverged."""
        started = self._clock()
        if all(bool(tensor.isfinite().all()) for tensor in copy["training"]["weights"].values()):
            write_state(self.folder, self.part, copy)
        return seconds_before + self._clock() - started


def furthest_step(folder: Path) -> tuple[int, int]:
    """Return the epoch and the step that the states in a run folder have come to; zeros if there is none.

    What is damaged counts as nothing.
    """
    steps = [(0, 0)]
    for file in (folder / LAST_FOLDER).glob("*.safetensors"):
        with suppress(RunError, KeyError, TypeError):
            state = read_numbers(file)["training"]
            steps.append((state["epochs_before"] + state["epoch"], state["step"]))
    return max(steps)
