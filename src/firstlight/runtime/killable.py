"""`KillablePool`: runs a function on bytes in processes that are ended when they take too much time or memory."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Literal, Self

from firstlight.runtime.fork_server import FAILURE, OUT_OF_MEMORY
from firstlight.runtime.frames import Block, BrokenFrameError
from firstlight.runtime.workers import CannotStartError, ForkServer, InnocentError, Limits, Worker

__all__ = ["CannotStartError", "KillablePool", "KilledError", "Limits"]


class KilledError(Exception):
    """A task was ended, or ended its process.

    Attributes:
        by: `time`, `memory` or `crash`.
        signal: the number of the signal that ended it, if it crashed by one; else 0.
    """

    def __init__(self, by: Literal["time", "memory", "crash"], signal_number: int = 0) -> None:
        super().__init__(f"ended by a signal, {signal_number}" if signal_number else f"ended: {by}")
        self.by = by
        self.signal = signal_number


class KillablePool:
    """Runs a function on bytes in other processes, several at once; any thread may call it.

    A worker that takes more than the limits, or crashes, is ended, and another takes its place; the tasks of the
    others go on. The processes begin with a bare Python and import the module of the function; they do not run the
    main program's code again, so this also works in notebooks and in scripts without a main guard. They end with this
    process, however it ends, and ignore Ctrl-C and SIGTERM: this process decides.

    Args:
        work: a function at the top of an importable module. It takes blocks of bytes (as memoryviews) and returns some.
        workers: number of processes, and so of tasks at once.
        limits: of each task.
        patience: seconds after which a task counts as slow. As many slow tasks as there are workers run beside the
            others, at low priority, so that a few of them do not hold everything up.

    Attributes:
        threads: enough for all these tasks. Work submitted here may call `run` or `lent`.
    """

    def __init__(
        self,
        work: Callable[..., Sequence[Block]],
        workers: int = 2,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        patience: float = 0.5,
    ) -> None:
        assert work.__module__ != "__main__", "the work has to be in a module that can be imported"
        self._forks = ForkServer(f"{work.__module__}:{work.__qualname__}", limits)
        self.limits = limits
        self._patience = patience
        self._free = threading.Semaphore(workers)
        self._slow = threading.Semaphore(workers)
        self._idle: list[Worker] = []
        self.threads = ThreadPoolExecutor(2 * workers, thread_name_prefix="killable")
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the processes now instead of on the first task.

        Raises:
            RuntimeError: if they cannot be started.
        """
        with self._free:
            self._keep(self._worker())

    def submit(self, *blocks: Block) -> "Future[list[bytes]]":
        """Return a future of what `run` returns; tasks begin in the order in which they are submitted.

        In a coroutine, await it with `asyncio.wrap_future`.
        """
        return self.threads.submit(self.run, *blocks)

    def run(self, *blocks: Block) -> list[bytes]:
        """Return what the function returns for these blocks of bytes.

        Raises:
            KilledError: if the task took more than the limits, or crashed.
            RuntimeError: if the function raised an exception, which is a bug in it, or the pool is stopped.
        """
        with self.lent(*blocks) as answer:
            return [bytes(block) for block in answer]

    @contextmanager
    def lent(self, *blocks: Block) -> Iterator[list[memoryview]]:
        """Yield what `run` returns without copying it: its memory is the worker's, which waits until the block ends."""
        with _Lane(self._free, self._slow) as lane:
            worker, (kind, answer) = self._answer(blocks, lane)
            try:
                if kind == FAILURE:
                    words = str(answer[0], "utf-8", "replace")
                    raise RuntimeError(f"the work in another process failed: {words}")
                yield answer
            finally:
                if lane.is_slow:  # its priority cannot be raised again
                    self._forks.end(worker)
                else:
                    self._keep(worker)

    def _answer(self, blocks: Sequence[Block], lane: "_Lane") -> "tuple[Worker, tuple[int, list[memoryview]]]":
        while True:
            worker = self._worker()
            try:
                worker.send(blocks)
                if not worker.answers_within(self._patience):
                    lane.step_aside(worker)
                answer = worker.receive(self.limits)
            except InnocentError:  # it died before it began; a new one is not at risk by this task
                self._forks.end(worker)
            except (OSError, BrokenFrameError) as error:
                raise self._killed(worker, error) from None
            except BaseException:
                self._forks.end(worker)
                raise
            else:
                if answer is None:
                    raise self._killed(worker, None)
                return worker, answer

    def stop(self) -> None:
        """End all processes. What runs is killed, and what waits is canceled."""
        self._stopped = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        self._forks.stop()
        while self._idle:
            self._idle.pop().tasks.close()
        self.threads.shutdown(wait=True)

    def _worker(self) -> "Worker":
        if self._stopped:
            raise RuntimeError("the pool is stopped")
        with suppress(IndexError):
            return self._idle.pop()
        return self._forks.fork()

    def _keep(self, worker: "Worker") -> None:
        self._idle.append(worker)
        if self._stopped:
            with suppress(IndexError):
                self._idle.pop().tasks.close()

    def _killed(self, worker: "Worker", error: Exception | None) -> Exception:
        """End a worker that did not answer as it should, and return what that means for its task."""
        status = self._forks.end(worker)
        if self._stopped:
            return RuntimeError("the pool is stopped")
        if isinstance(error, TimeoutError):
            return KilledError("time")
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number in (signal.SIGPROF, signal.SIGXCPU):
            return KilledError("time")
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == OUT_OF_MEMORY:
            return KilledError("memory")
        ended_here = isinstance(error, BrokenFrameError) and number == signal.SIGKILL
        return KilledError("crash", 0 if ended_here else number)


class _Lane:
    """A place among the tasks that run: an ordinary one, or one of those for slow tasks."""

    def __init__(self, free: threading.Semaphore, slow: threading.Semaphore) -> None:
        self._lane = free
        self._slow = slow
        self.is_slow = False

    def __enter__(self) -> Self:
        self._lane.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lane.release()

    def step_aside(self, worker: Worker) -> None:
        """Let another task overtake this one, if there is a place for slow ones."""
        if not self.is_slow and self._slow.acquire(blocking=False):
            self.is_slow = True
            worker.slow_down()
            self._lane.release()
            self._lane = self._slow
