"""`KillablePool`: runs a function on bytes in processes that are ended when they take too much time or memory."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Self

from firstlight.runtime.fork_server import ANSWER, END, FAILURE, FORK, OUT_OF_MEMORY, REQUEST
from firstlight.runtime.frames import (
    Block,
    BrokenFrameError,
    limit_waiting,
    map_memory,
    receive_frame,
    send_frame,
    shared_memory,
)

_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[6:]; from firstlight.runtime.fork_server import serve_forks; "
    "serve_forks(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))"
)
# Otherwise BLAS starts threads when NumPy is imported, and a process with threads cannot be forked safely.
_SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_SHARED = 16 << 20  # bytes of memory for answers that each worker shares; a larger answer goes through its socket
_START_SECONDS = 120  # for the fork server to import what the work needs, on a busy machine


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may take.

    Attributes:
        cpu_seconds: of processor time.
        seconds: of time, however busy the machine is.
        memory: bytes, beside what the worker holds before its first task.
        answer: bytes of its answer.
    """

    cpu_seconds: float = 10.0
    seconds: float = 30.0
    memory: int = 1_000_000_000
    answer: int = 1_000_000_000


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

    Attributes:
        threads: as many as there are workers. Work submitted here may call `run` or `lent`.
    """

    def __init__(
        self,
        work: Callable[..., Sequence[Block]],
        workers: int = 2,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.limits = limits
        assert work.__module__ != "__main__", "the work has to be in a module that can be imported"
        self._forks = _ForkServer(f"{work.__module__}:{work.__qualname__}", limits)
        self._free = threading.Semaphore(workers)
        self._idle: list[_Worker] = []
        self.threads = ThreadPoolExecutor(workers, thread_name_prefix="killable")
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
        with self._free:
            worker, (kind, answer) = self._answer(blocks)
            try:
                if kind == FAILURE:
                    words = str(answer[0], "utf-8", "replace")
                    raise RuntimeError(f"the work in another process failed: {words}")
                yield answer
            finally:
                self._keep(worker)

    def _answer(self, blocks: Sequence[Block]) -> "tuple[_Worker, tuple[int, list[memoryview]]]":
        while True:
            worker = self._worker()
            try:
                answer = worker.run(blocks, self.limits)
            except _InnocentError:  # it died before it began; a new one is not at risk by this task
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

    def _worker(self) -> "_Worker":
        if self._stopped:
            raise RuntimeError("the pool is stopped")
        with suppress(IndexError):
            return self._idle.pop()
        return self._forks.fork()

    def _keep(self, worker: "_Worker") -> None:
        self._idle.append(worker)
        if self._stopped:
            with suppress(IndexError):
                self._idle.pop().tasks.close()

    def _killed(self, worker: "_Worker", error: Exception | None) -> Exception:
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


class _InnocentError(Exception):
    """A worker had died before it began with a task."""


class _Worker:
    """A process that runs one task after the other, seen from outside."""

    def __init__(
        self,
        process: int,
        tasks: socket.socket,
        shared: memoryview | None,
        server: "subprocess.Popen[bytes] | None",
    ) -> None:
        self.process = process
        self.tasks = tasks
        self.shared = shared
        self.server = server

    def run(self, blocks: Sequence[Block], limits: Limits) -> tuple[int, list[memoryview]] | None:
        """Return the kind and the blocks of its answer; None if it ended without one."""
        until = time.monotonic() + limits.seconds
        try:
            send_frame(self.tasks, 0, blocks)
        except (BrokenPipeError, ConnectionResetError):
            raise _InnocentError from None
        try:
            return receive_frame(self.tasks, max_bytes=limits.answer, until=until, shared=self.shared)
        except ConnectionResetError:  # it ended with the task unread
            raise _InnocentError from None


class _ForkServer:
    """The process that forks the workers, seen from outside; started on the first call, and again if it dies."""

    def __init__(self, work: str, limits: Limits) -> None:
        self._arguments = [work, str(limits.cpu_seconds), str(limits.memory)]
        self._seconds = limits.seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self) -> _Worker:
        """Return a new worker."""
        ours, theirs = socket.socketpair()
        limit_waiting(ours, self._seconds)
        memory = shared_memory(_SHARED)
        given = [theirs.fileno()] if memory is None else [theirs.fileno(), memory]
        try:
            with self._lock, theirs:
                process = self._ask_for_one(given)
                server = self._process
            if process < 0:
                raise OSError(-process, f"no other process can be started: {os.strerror(-process)}")
        except BaseException:
            ours.close()
            if memory is not None:
                os.close(memory)
            raise
        return _Worker(process, ours, None if memory is None else map_memory(memory), server)

    def end(self, worker: _Worker) -> int:
        """End a worker, and return its exit status."""
        worker.tasks.close()
        with self._lock, suppress(OSError):
            if self._process is not None and self._process is worker.server:
                return self._ask(END, worker.process)
        return signal.SIGKILL

    def stop(self) -> None:
        """End the fork server and all workers."""
        with self._lock:
            self._close()

    def _ask_for_one(self, given: list[int]) -> int:
        if self._control is not None:
            try:
                return self._ask(FORK, 0, given)
            except OSError:  # it has died since, and its workers with it
                self._close()
        try:
            return self._ask(FORK, 0, given)
        except OSError:
            self._close()
            raise RuntimeError("other processes cannot be started; the error is above") from None

    def _ask(self, kind: bytes, process: int, given: Sequence[int] = ()) -> int:
        if self._control is None:
            self._start()
        assert self._control is not None
        request = REQUEST.pack(kind, process)
        socket.send_fds(self._control, [request], given)
        answer = self._control.recv(ANSWER.size, socket.MSG_WAITALL)
        if len(answer) < ANSWER.size:
            raise ConnectionResetError
        return int(ANSWER.unpack(answer)[0])

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_START_SECONDS)
        work, cpu_seconds, memory = self._arguments
        with theirs:
            arguments = [str(theirs.fileno()), str(os.getpid()), work, cpu_seconds, memory, *sys.path]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | _SINGLE_THREAD,
                start_new_session=True,  # Ctrl-C on the terminal does not reach it
            )

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()  # it ends its workers, then itself
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._control = self._process = None
