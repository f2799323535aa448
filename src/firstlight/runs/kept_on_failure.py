"""What is left of a run that is interrupted, or that cannot go on because a disk is full, for example."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firstlight.disk import write_error_of
from firstlight.errors import RunError, UserError, WriteError
from firstlight.runs.begun import is_begun
from firstlight.runs.folder import MODEL_FILE
from firstlight.runs.last import has_state
from firstlight.runtime.distributed import is_lost, own_name


@contextmanager
def telling_what_is_kept(folder: Path, *, is_new: bool) -> Iterator[None]:
    """Let an interrupt, or an error of writing, say what is kept in a run folder, and how to go on.

    If there is nothing to keep in a new folder, it is removed.

    Args:
        folder: the run folder.
        is_new: whether it was empty before this run.

    Raises:
        RunError: if something cannot be written.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        keeps = not is_new or has_state(folder) or _has_model(folder)
        stop.add_note(what_is_kept(folder) if keeps else _removed(folder))
        raise
    except Exception as error:
        if is_lost(error):
            error.add_note(what_is_kept(folder))
            raise
        told = isinstance(error, WriteError) or (isinstance(error, UserError) and _is_of_writing(error))
        file = _file_of(error) or folder
        failure = error if told else write_error_of(error, file)
        if failure is None or not (told or file.is_relative_to(folder)):  # elsewhere, a file may have been read
            raise
        words = failure.reason if isinstance(failure, UserError) else str(failure)
        raise RunError(f"{words}; {what_is_kept(folder) if is_begun(folder) else _removed(folder)}") from None


def what_is_kept(folder: Path) -> str:
    """Return in words what there is in the folder of a run that has not ended, and how to go on with it."""
    model = f"the best model so far is in {folder / MODEL_FILE}" if _has_model(folder) else "there is no model yet"
    if has_state(folder):
        return f"{model}; the state of training is saved; go on with {own_name()} train `resume` {folder}"
    return f"{model}; begin again with {own_name()} train `resume` {folder}" if is_begun(folder) else model


def _is_of_writing(error: UserError) -> bool:
    """Return whether an error says in other words that something cannot be written."""
    return isinstance(error.__context__, WriteError)


def _file_of(error: Exception) -> Path | None:
    """Return the file that an error names."""
    name = getattr(error, "filename", None)
    return Path(name) if isinstance(name, str) else None


def _has_model(folder: Path) -> bool:
    return (folder / MODEL_FILE).is_file()


def _removed(folder: Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    return "nothing was saved"
