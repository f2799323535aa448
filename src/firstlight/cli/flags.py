"""Turn messages about choices into messages about flags."""

import re
from typing import Any

from firstlight.errors import UserError
from firstlight.training.recipe import HOMES

OTHER_FLAGS = {
    "out",
    "top",
    "csv",
    "split",
    "json",
    "recipe",
    "seeds",
    "method",
    "class",
    "check",
    "engine",
    "accept",
    "sets",
    "address",
    "to",
    "precision",
    "resume",
    "resume_inexact",
    "save_every",
    "shards",
    "trials",
    "storage",
    "search",
    "keep",
}  # of commands, besides the choices of a recipe
CHOICE = re.compile(r"`([a-z_]+)`")


def flag(name: str) -> str:
    """Return the flag of a choice: `img_size` is `--img-size`."""
    return f"--{name.replace('_', '-')}"


def with_flags(text: str) -> str:
    """Return a message with choices between backticks, such as `img_size`, written as flags."""

    def replaced(found: re.Match[str]) -> str:
        name = found[1]
        return flag(name) if name in HOMES or name in OTHER_FLAGS else found[0]

    return CHOICE.sub(replaced, text)


def message(error: UserError) -> str:
    """Return the text of an error, with the flag and its value first if it is about one."""
    if error.field is None:
        return with_flags(str(error))
    value = _typed(error.value)
    return f"{flag(error.field)}{value and ' '}{value}: {with_flags(error.reason)}"


def _typed(value: Any) -> str:
    """Return a value as a person types it after its flag; empty for a switch."""
    if value is True or value is None:
        return ""
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    return str(value)
