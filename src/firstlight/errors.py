"""Exceptions for user errors, each with a plain message of one line.

Every message is one line that can be printed: what is wrong, where, why, and what to do about it. In Python each is a
`ValueError`; the command line prints it and exits with code 2. The types are::

    UserError
        DataError            a source, list, archive or split
            ImageError       one image
        RecipeError          a choice of a run
        ModelFileError       a model or weights file
            DownloadError    weights that are not here and cannot be fetched
        RunError             a run folder
        TrainingError        training itself
        NoRoomError          what would be written needs more room than a disk has; nothing is written yet
        WriteError           a file that cannot be written, because a disk is full, for example; an `OSError` as well
        WrongTypeError       an argument of the wrong type; a `TypeError` as well

Where a message is about a choice, the error carries its name and its value: `error.field`, `error.value`. Messages name
other choices between backticks, as in "use a larger `img_size`". Only the command line turns either into a flag.
"""

from pathlib import Path
from typing import Any

from firstlight.escaping import one_line


class UserError(ValueError):
    """A mistake in the user's input, not in the program.

    Args:
        reason: one line: what is wrong, where, why, and what to do about it.
        field: the choice that is wrong, by its name in Python, if it is one.
        value: what was chosen.
    """

    def __init__(self, reason: str, *, field: str | None = None, value: Any = None) -> None:
        self.reason = one_line(reason)
        super().__init__(self.reason if field is None else one_line(f"{field} = {value!r}: {reason}"))
        self.field = field
        self.value = value


class DataError(UserError):
    """A source, list, archive or split that cannot be used."""


class ImageError(DataError):
    """One image that cannot be used; the message is the reason, without the file's name."""


class RecipeError(UserError):
    """A choice of a run that does not exist or contradicts another one."""


class ModelFileError(UserError):
    """A model or weights file that cannot be loaded."""


class DownloadError(ModelFileError):
    """Weights that are not on this machine and cannot be downloaded.

    Args:
        reason: the whole message.
        why: only why they cannot be downloaded, in a few words.
    """

    def __init__(self, reason: str, *, why: str = "") -> None:
        super().__init__(reason)
        self.why = why


class RunError(UserError):
    """A run folder that cannot be written or read."""


class TrainingError(UserError):
    """Training cannot go on, for example because the loss is no longer a number."""


class NoRoomError(UserError):
    """A disk has too little room for what would be written.

    Args:
        shortage: what needs how much, where, and how much is free.
        advice: what to do about it.
    """

    def __init__(self, shortage: str, advice: str) -> None:
        super().__init__(f"{shortage}; {advice}")
        self.shortage = shortage


class WriteError(UserError, OSError):
    """A file or a folder that cannot be written: a disk is full or read-only, or a folder was removed; see `disk`.

    Args:
        reason: the whole message.
        path: of the file or the folder.
        why: only why it cannot be written, in a few words; `strerror` as well.
        number: of the error, as in `errno`.
    """

    def __init__(self, reason: str, *, path: Path | None = None, why: str = "", number: int | None = None) -> None:
        super().__init__(reason)
        self.path, self.why = path, why
        self.errno, self.strerror = number, why

    def __str__(self) -> str:
        return self.reason


class WrongTypeError(UserError, TypeError):
    """An argument in Python has the wrong type."""


class NoteWarning(UserWarning):
    """A warning for people that changes no result; the command line shows it as a one-line note."""


def kind_of(value: object) -> str:
    """Return in words what this is, such as `an ndarray of shape (2, 8)`."""
    name = type(value).__name__
    shape = getattr(value, "shape", None)
    article = "an" if name[:1].lower() in "aeiou" or name == "ndarray" else "a"
    return f"{article} {name}" + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) else "")


def require_type(value: object, kinds: Any, name: str, wanted: str) -> None:
    """Raise a `WrongTypeError` that says what to give if an argument has none of these types.

    Args:
        value: of the argument.
        kinds: a type or a union of types.
        name: of the argument.
        wanted: what it takes, in words.
    """
    if not isinstance(value, kinds):
        raise WrongTypeError(f"{name} is {kind_of(value)}; give {wanted}")
