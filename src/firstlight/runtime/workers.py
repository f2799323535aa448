"""A worker of a `KillablePool` and its fork server, seen from the program that uses them."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from firstlight.runtime.fork_server import ANSWER, END, FORK, REQUEST
from firstlight.runtime.frames import (
    Block,
    halves,
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
_SHARED = 32 << 20  # bytes of memory that each worker shares; what exceeds its half goes through the socket
_LOW_PRIORITY = 10  # "nice"
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
    seconds: float = 60.0
    memory: int = 1_000_000_000
    answer: int = 1_000_000_000


class InnocentError(Exception):
    """A worker had died before it began with a task."""


class CannotStartError(RuntimeError):
    """No other process can be started here."""


class Worker:
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
        self.given, self.answers = halves(shared)
        self.server = server
        self._began = 0.0
        self._poll = select.poll()
        self._poll.register(tasks, select.POLLIN)

    def send(self, blocks: Sequence[Block]) -> None:
        """Begin a task."""
        self._began = time.monotonic()
        try:
            send_frame(self.tasks, 0, blocks, self.given)
        except (BrokenPipeError, ConnectionResetError):
            raise InnocentError from None

    def slow_down(self) -> None:
        """Let the processes of others go first, for the rest of its life."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.process, _LOW_PRIORITY)

    def answers_within(self, seconds: float) -> bool:
        """Return whether the task ends by then, with an answer or without."""
        return bool(self._poll.poll(seconds * 1000))

    def receive(self, limits: Limits) -> tuple[int, list[memoryview]] | None:
        """Return the kind and the blocks of its answer; None if it ended without one."""
        until = self._began + limits.seconds
        try:
            return receive_frame(self.tasks, max_bytes=limits.answer, until=until, shared=self.answers)
        except ConnectionResetError:  # it ended with the task unread
            raise InnocentError from None


class ForkServer:
    """The process that forks the workers, seen from outside; started on the first call, and again if it dies."""

    def __init__(self, work: str, limits: Limits) -> None:
        self._arguments = [work, str(limits.cpu_seconds), str(limits.memory)]
        self._seconds = limits.seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self) -> Worker:
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
        return Worker(process, ours, None if memory is None else map_memory(memory), server)

    def end(self, worker: Worker) -> int:
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
            raise CannotStartError("other processes cannot be started; the error is above") from None

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
