"""The processes behind a `KillablePool`: a fork server, and the workers that it forks.

The fork server imports what the workers need once, and nothing else; it runs a single thread, so that forking it is
safe. A worker begins within milliseconds and shares its memory. Nothing here outlives the program that started it.
"""

import ctypes
import gc
import importlib
import os
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from firstlight.runtime.frames import Block, halves, map_memory, receive_frame, send_frame
from firstlight.runtime.memory import keep_small_memory
from firstlight.runtime.parent import PR_SET_PDEATHSIG

Work = Callable[..., Sequence[Block]]

FORK, END = b"f", b"e"
REQUEST = struct.Struct("<cq")  # to the fork server: FORK with a socket and shared memory, or END with a process id
ANSWER = struct.Struct("<q")  # the process id, or minus the system's error; the status as `os.waitpid` returns it
RESULT, FAILURE = 0, 1  # kinds of frames that a worker answers: what the work returned, or the exception in words
OUT_OF_MEMORY = 77  # exit code of a worker
MAX_REQUEST = 1 << 40  # bytes; what the own program sends is trusted
MAX_OPEN_FILES = 64
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the program decides when its workers end


def serve_forks(control: int, program: int, work: str, cpu_seconds: float, memory: int) -> None:
    """Fork and end workers, as asked for, until the program that asks has ended.

    Args:
        control: number of the socket on which `REQUEST`s arrive.
        program: process id of that program.
        work: what the workers run, as `module:function`.
        cpu_seconds: that one task may take.
        memory: bytes that one task may take.
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    keep_small_memory()
    asked = socket.socket(fileno=control)
    run = load(work)
    gc.collect()
    gc.freeze()  # collecting garbage would copy the shared memory
    poll = select.poll()
    poll.register(asked, select.POLLIN)
    workers: set[int] = set()
    try:
        # A copy of the other end of the socket, in a process that the program has forked, would keep it open.
        while os.getppid() == program:
            if not poll.poll(1000):
                continue
            request, given, _, _ = socket.recv_fds(asked, REQUEST.size, 2)
            if len(request) < REQUEST.size:
                return
            kind, process = REQUEST.unpack(request)
            if kind == FORK:
                answer = _fork(given, asked, run, cpu_seconds, memory)
                if answer > 0:
                    workers.add(answer)
            else:
                workers.remove(process)
                answer = _end(process)
            asked.sendall(ANSWER.pack(answer))
    except OSError:  # the program has ended
        return
    finally:
        for process in workers:
            _end(process)


def load(work: str) -> Work:
    """Return the function that `module:function` names."""
    module, _, name = work.partition(":")
    function: Work = attrgetter(name)(importlib.import_module(module))
    return function


def _end(process: int) -> int:
    """Kill a worker if it still runs, and return its exit status.

    Its id is not used again before this, since only here the system is asked for the status.
    """
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1]


def _fork(given: list[int], asked: socket.socket, run: Work, cpu_seconds: float, memory: int) -> int:
    """Return the id of a new worker; where the system lets no process begin, the number of its error, negative."""
    server = os.getpid()
    try:
        process = os.fork()
    except OSError as error:
        process = -(error.errno or 1)
    if process:
        for descriptor in given:
            os.close(descriptor)
        return process
    code = 1
    tasks = socket.socket(fileno=given[0])  # stays open to the end: once it is closed, the exit code is settled
    try:
        asked.close()
        _die_with(server)
        _limit(memory)
        shared = map_memory(given[1]) if len(given) > 1 else None
        serve_tasks(tasks, run, cpu_seconds, shared)
        code = 0
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        os._exit(code)


def serve_tasks(tasks: socket.socket, run: Work, cpu_seconds: float, shared: memoryview | None = None) -> None:
    """Run each task that arrives, until the program closes the socket.

    Args:
        tasks: the socket.
        run: what each task runs.
        cpu_seconds: that one task may take.
        shared: memory that is shared with the program: one half for tasks, one for answers.

    Raises:
        MemoryError: if a task takes too much; whoever calls this should end the process, to free it all.
    """
    given, answers = halves(shared)
    while (task := receive_frame(tasks, max_bytes=MAX_REQUEST, shared=given)) is not None:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # its signal, SIGPROF, ends the process
        try:
            kind, answer = RESULT, run(*task[1])
        except MemoryError:
            raise
        except Exception as error:
            words = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace")
            kind, answer = FAILURE, [words]
        send_frame(tasks, kind, answer, answers)
        del task, answer


def _die_with(server: int) -> None:
    """Let this process be killed as soon as the fork server ends, however it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)


def _limit(memory: int) -> None:
    """Take from this process what decoding needs not: much memory, files, a core dump, words on the terminal."""
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    with suppress(OSError):  # where memory runs out, let Linux end this process first
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
    }
    with suppress(OSError, ValueError, IndexError):
        pages = Path("/proc/self/statm").read_text("ascii").split()  # all memory, ..., data at index 5
        limits[resource.RLIMIT_DATA] = int(pages[5]) * resource.getpagesize() + memory
    for limit, value in limits.items():
        with suppress(OSError, ValueError):
            hard = resource.getrlimit(limit)[1]
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (least, least))
