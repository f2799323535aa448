"""What the workers of the tests run: decoders as bad as they come."""

import ctypes
import os
import time
from pathlib import Path


def work(what: memoryview, *rest: memoryview) -> list[bytes]:
    return DONE[bytes(what).decode()](*rest)


def read_null() -> list[bytes]:
    return [ctypes.string_at(0)]


def sleep() -> list[bytes]:
    while True:
        time.sleep(60)


def spin() -> list[bytes]:
    while True:
        pass


def allocate() -> list[bytes]:
    kept = []
    while True:
        kept.append(bytes(10_000_000))


def fail() -> list[bytes]:
    raise ValueError("a bug")


def state() -> list[bytes]:
    return [str(os.getpid()).encode(), str(len(list(Path("/proc/self/task").iterdir()))).encode()]


def modules() -> list[bytes]:
    import sys

    return [" ".join(sys.modules).encode()]


DONE = {
    "echo": lambda *blocks: list(blocks),
    "read null": read_null,
    "exit": lambda: os._exit(3),
    "sleep": sleep,
    "spin": spin,
    "allocate": allocate,
    "fail": fail,
    "state": state,
    "modules": modules,
    "too much": lambda: [bytes(2_000_000)],
}
