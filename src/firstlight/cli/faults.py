"""What went wrong, in one line, if the user or the machine caused it; nothing for a mistake of ours."""

import errno
import os
from collections.abc import Iterator

from firstlight.cli.flags import message
from firstlight.errors import UserError
from firstlight.runtime.memory import is_out_of_gpu_memory, is_out_of_memory, is_out_of_threads

EXTRAS = {
    "fastapi": "serve",
    "httptools": "serve",
    "python_multipart": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "huggingface_hub": "hub",
    "pillow_heif": "heif",
    "jupytext": "guide",
}
REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room: your quota is used up",
    errno.EMFILE: "allow more open files, as by ulimit -n 4096",
    errno.ENFILE: "close other programs; too many files are open on this machine",
    errno.EAGAIN: "close other programs, or raise the limit of processes (see ulimit -u)",
    errno.EACCES: "change the permissions, or choose another place",
    errno.EPERM: "change the permissions, or choose another place",
    errno.EROFS: "choose another place; this one is read-only",
}
NO_MEMORY = (
    "there is not enough memory for this; close other programs, raise the limit if there is one (see ulimit -v), or "
    "choose a smaller --img-size, --batch-size, or --workers"
)
NO_THREADS = (
    "no other thread can be started here; close other programs, or raise the limits if there are any (see ulimit -u "
    "and ulimit -v)"
)
NO_GPU_MEMORY = (
    "the GPU does not have enough memory for this; close other programs that use it, or choose a smaller --batch-size "
    "or --img-size, or --device cpu"
)
NO_FOLDER = "the current folder no longer exists; change to another one"
OURS = (errno.EBADF, errno.EFAULT, errno.ECHILD, errno.ESRCH, errno.ENOTSOCK)  # no user can cause these


def reason_of(error: BaseException) -> str | None:
    """Return in one line what the user or the machine did, and what to do about it; None for a mistake of ours."""
    if isinstance(error, UserError):
        return message(error)
    if not current_folder_exists():
        return NO_FOLDER
    if memory := next(filter(None, map(_of_memory, _chain(error))), None):
        return memory
    match error:
        case ModuleNotFoundError(name=str(name)) if not name.startswith("firstlight"):
            return missing(name)
        case OSError(errno=int(number)) if number not in OURS:
            return _of_system(error)
    return None


def missing(module: str) -> str:
    """Return how to install a package that is not installed."""
    package = module.partition(".")[0]
    return f"{package} is not installed; pip install {_wanted(package)}"


def current_folder_exists() -> bool:
    """Return whether the current folder is still there."""
    try:
        os.getcwd()  # noqa: PTH109 - only whether it works
    except OSError:
        return False
    return True


def _wanted(package: str) -> str:
    return f"'firstlight[{EXTRAS[package]}]'" if package in EXTRAS else package


def _of_memory(error: BaseException) -> str | None:
    if is_out_of_gpu_memory(error):
        return NO_GPU_MEMORY
    if is_out_of_threads(error):
        return NO_THREADS
    return NO_MEMORY if is_out_of_memory(error) else None


def _of_system(error: OSError) -> str:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    where = " and ".join(name for name in names if name)
    remedy = REMEDIES.get(error.errno or 0, "")
    reason = error.strerror or str(error)
    return (f"{where}: " if where else "") + reason + (f"; {remedy}" if remedy else "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what caused it."""
    found: BaseException | None = error
    for _ in range(10):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__
