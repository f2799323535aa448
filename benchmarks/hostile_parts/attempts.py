"""Try many inputs in a forked process that may be killed, and say for each what was wrong with the answer.

An attempt fails if it raises anything but a `UserError`, ends its process, takes longer or more memory than it may, or
finds something wrong itself. A forked process has everything imported, so that an attempt takes milliseconds.
"""

import os
import re
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECONDS = 20.0  # that an attempt may take
SPARE_BYTES = 96 * 2**20  # that an attempt may take besides twice its input
MOST_TOLD = 5  # failures of a row that are printed
NO_TRACE = {"VmHWM": 0, "VmRSS": 0}


class Found(NamedTuple):
    """What came of an attempt: its fault in words, "" for none, and the bytes of its input."""

    fault: str = ""
    size: int = 0


Attempt = Callable[[int], Found]


@dataclass
class Row:
    """How many inputs of a kind were tried, and what was wrong with which; `skipped` says why none was."""

    name: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: str = ""

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.name:<58} not tried: {self.skipped}"
        told = "".join(f"\n    {failure[:400]}" for failure in self.failures[:MOST_TOLD])
        return f"{self.name:<58} {self.tried:7,} tried {len(self.failures):6,} failed{told}"


def tried(name: str, count: int, attempt: Attempt, *, seconds: float = SECONDS, spare_bytes: int = SPARE_BYTES) -> Row:
    """Return the row of one kind of input, after trying it `count` times.

    Args:
        name: of the row.
        count: how many inputs; the attempt gets their numbers, from 0.
        attempt: tries one input, in a forked process.
        seconds: that an attempt may take.
        spare_bytes: of memory that it may take besides twice its input.
    """
    row = Row(name)
    while row.tried < count:
        for fault in _in_a_fork(range(row.tried, count), attempt, seconds, spare_bytes):
            if fault:
                row.failures.append(f"#{row.tried}: {fault}")
            row.tried += 1
    return row


def _in_a_fork(numbers: range, attempt: Attempt, seconds: float, spare_bytes: int) -> Iterator[str]:
    """Yield the fault of each attempt, up to the first that ends its process or hangs."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setpgid(0, 0)
        try:
            for number in numbers:
                fault = judged(attempt, number, spare_bytes)
                os.write(writing, fault.encode("utf-8", "replace")[:4000].replace(b"\0", b"") + b"\0")
        finally:  # also if nobody listens any more
            os._exit(0)
    os.close(writing)
    pending, left = b"", len(numbers)
    with os.fdopen(reading, "rb", buffering=0) as told:
        while left:
            ready, _, _ = select.select([told], [], [], seconds)
            part = told.read(65536) if ready else b""
            if not part:
                _end(child)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                yield f"its process ended with {status}" if ready else f"hung for {seconds:g} s"
                return
            *complete, pending = (pending + part).split(b"\0")
            for fault in complete:
                yield fault.decode()
            left -= len(complete)
    os.waitpid(child, 0)


def _end(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)


def judged(attempt: Attempt, number: int, spare_bytes: int = SPARE_BYTES) -> str:
    """Return the fault of one attempt, "" for none, in this process."""
    from firstlight.errors import UserError

    try:
        with peak_memory() as peak:
            try:
                found = attempt(number)
            except UserError as error:
                found = Found(bad_words(str(error)))
    except BaseException as error:  # whatever comes is what we look for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"
    if not found.fault and peak[0] > 2 * found.size + spare_bytes:
        return f"took {peak[0] / 2**20:,.0f} MiB for an input of {found.size:,} bytes"
    return found.fault


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Yield a list that afterwards holds by how many bytes memory grew at most; 0 where the system does not say."""
    peak = [0]
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    except OSError:
        yield peak
        return
    before = _memory()["VmRSS"]
    yield peak
    peak[0] = _memory()["VmHWM"] - before


def _memory() -> dict[str, int]:
    lines = [line.partition(":") for line in Path("/proc/self/status").read_text().splitlines()]
    return NO_TRACE | {name: 1024 * int(kb.split()[0]) for name, _, kb in lines if name in NO_TRACE}


def bad_words(message: str) -> str:
    """Return what is wrong with a message for people; "" if nothing is."""
    if not message.strip():
        return "an error without words"
    if len(message) > 2000:
        return f"a message of {len(message):,} characters: {message[:80]!r}"
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u202e]", message):
        return f"a message with a line end or a control character: {message[:200]!r}"
    if "Traceback" in message:
        return f"a traceback: {message[:200]!r}"
    return ""
