"""Start the program that talks to Ray, and hear from it how each block went; it ends with the block of code.

Unless an address is given, it starts a Ray of its own, which nobody else can use: bound to the loopback address, with
a token made for it, without dashboard and usage statistics, in a temporary folder that only this user can enter.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from firstlight.errors import RecipeError, UserError
from firstlight.integrations.ray_data.work import Job, Outcome
from firstlight.unfinished import sweep

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from firstlight.integrations.ray_data.driver import main; main()"
NOT_INSTALLED = "Ray is not installed; pip install 'firstlight[scale]'"
MOST_STARTS = 3  # of a Ray of its own
STOP_SECONDS = 20.0  # for Ray to end its processes
LONGEST_TEMPORARY = 40  # characters: Ray makes sockets below, whose paths must not exceed 107
CONNECT_SECONDS = 10.0
LOG_FILE = "driver.log"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TQDM": "0",
    "RAY_DATA_LOG_LEVEL": "ERROR",
}
PRIVATE = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux, too, this binds everything to the loopback address
    "RAY_prestart_worker_first_driver": "0",  # processes that would wait for tasks which never come
    "RAY_enable_worker_prestart": "0",
    "RAY_gcs_server_port_wait_time_s": "300",  # on a busy machine everything takes long
    "RAY_worker_register_timeout_seconds": "300",
}


def require_ray() -> None:
    """Raise a `RecipeError` that says how to install Ray, unless it is."""
    if find_spec("ray") is None:
        raise RecipeError(NOT_INSTALLED, field="engine", value="ray")


def outcomes(job: Job, todo: Path, *, workers: int | None, processors: int, address: str | None) -> Iterator[Outcome]:
    """Yield how each block went, in any order, as they are finished.

    Args:
        job: what is to be done.
        todo: a file with the blocks, one per line.
        workers: number of processes; by default one for each processor, or GPU, that Ray has.
        processors: that a Ray of its own may use.
        address: of a Ray cluster; None for a Ray of its own.

    Raises:
        UserError: if Ray cannot be started or reached, or nothing more can be done.
    """
    if address is not None:
        _require_somebody_at(address)
    for start in range(1, MOST_STARTS + 1):
        try:
            yield from _session(job, todo, workers, processors, address)
        except _NotStartedError as error:
            if start == MOST_STARTS or address is not None:
                raise UserError(f"{_what_failed(address)}: {error}") from None
        else:
            return


class _NotStartedError(Exception):
    """Ray has not started, with the reason; on a busy machine it takes too long for its own limits."""


def _session(job: Job, todo: Path, workers: int | None, processors: int, address: str | None) -> Iterator[Outcome]:
    with _temporary_folder() as folder:
        asked = {
            "job": job.to_json(),
            "todo": str(todo),
            "workers": workers,
            "processors": workers or processors,
            "gpus": job.of.device == "cuda",
            "address": address,
            "temporary": None if address else str(folder),
        }
        log = folder / LOG_FILE
        with _program(log, is_private=address is None) as program:
            assert program.stdin and program.stdout
            with suppress(BrokenPipeError):
                program.stdin.write(json.dumps(asked) + "\n")
                program.stdin.flush()
            is_done = False
            for line in program.stdout:
                said: dict[str, Any] = json.loads(line)
                is_done = is_done or "done" in said
                if "not_started" in said:
                    raise _NotStartedError(said["not_started"])
                if "failed" in said:
                    raise UserError(said["failed"])
                if "outcome" in said:
                    yield Outcome(**said["outcome"])
            if not is_done:
                raise UserError(f"{_what_failed(address)}: {_last_line(log)}")


@contextmanager
def _program(log: Path, *, is_private: bool) -> "Iterator[subprocess.Popen[str]]":
    environment = os.environ | QUIET | ({"RAY_AUTH_TOKEN": secrets.token_hex(32)} | PRIVATE if is_private else {})
    with log.open("w") as errors:
        program = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is for us; we end it
        )
    try:
        yield program
    finally:
        assert program.stdin and program.stdout
        with suppress(OSError):
            program.stdin.close()
        try:
            program.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        program.stdout.close()


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a new folder with a short path, that only this user can enter; what killed processes left is removed."""
    parent = Path(tempfile.gettempdir())
    name = f"firstlight-{os.getpid()}-{secrets.token_hex(3)}.part"
    if len(str(parent / name)) > LONGEST_TEMPORARY and Path("/tmp").is_dir():  # noqa: S108 - private, and a new name
        parent = Path("/tmp")  # noqa: S108
    sweep(parent)
    folder = parent / name
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_somebody_at(address: str) -> None:
    """Raise a `RecipeError` if nobody listens at an address: Ray itself would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", address)
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = f"no Ray cluster answers there ({getattr(error, 'strerror', None) or error}); `ray status` says where"
        raise RecipeError(reason, field="address", value=address) from None


def _what_failed(address: str | None) -> str:
    return f"the Ray cluster at {address} failed" if address else "Ray failed"


def _last_line(log: Path) -> str:
    """Return what the program said last, such as the message of an exception."""
    with suppress(OSError):
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        if lines:
            return lines[-1]
    return "it said nothing"
