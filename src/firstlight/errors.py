"""What a user can get wrong, as exception types with plain messages.

Every message is one line: what is wrong, where, why, and what to do about it. The command line prints it and
exits with code 2; in Python each is a `ValueError`.
"""


def harmless(text: str) -> str:
    """Escape what could steer a terminal or forge a line, such as a file name with a line end in it."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


class UserError(ValueError):
    """The input is wrong, not the program."""


class DataError(UserError):
    """A source, list, archive or split that cannot be used."""


class PictureError(DataError):
    """One picture that cannot be used; the message is the reason, without the file's name."""


class RecipeError(UserError):
    """A choice of a run that does not exist or does not fit the others."""


class ModelFileError(UserError):
    """A model or weights file that cannot be loaded."""


class RunError(UserError):
    """A run folder that cannot be written or read."""


class TrainingError(UserError):
    """Training cannot go on, for example because the loss is no longer a number."""
