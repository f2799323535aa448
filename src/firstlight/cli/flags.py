"""Flags: the recipe as command-line options, and messages about choices in the words of the command line."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg

from firstlight.errors import UserError
from firstlight.models.recipe import ModelRecipe
from firstlight.training.recipe import HOMES

OTHER_FLAGS = {"out", "top", "csv", "split", "json", "recipe"}  # of commands, besides the choices of a recipe
CHOICE = re.compile(r"`([a-z_]+)`")


@dataclass(frozen=True, kw_only=True)
class ModelFlags(ModelRecipe):
    """Which network is trained, and what it starts from."""

    name: Annotated[str, arg(name="model")] = ModelRecipe.name
    """The network: mlp, cnn, timm:NAME or torchvision:NAME, or a pretrained one chosen for you: auto, fast, balanced,
    best."""

    @classmethod
    def of(cls, recipe: ModelRecipe) -> "ModelFlags":
        """Return the flags with the choices of a recipe as their defaults."""
        return cls(**vars(recipe))

    def recipe(self) -> ModelRecipe:
        """Return the choices without the flags."""
        return ModelRecipe(**vars(self))


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
    """Return an error as the command line tells it: the flag and its value first, if it is about one."""
    if error.field is None:
        return with_flags(str(error))
    value = _typed(error.value)
    return f"{flag(error.field)}{value and ' '}{value}: {with_flags(error.reason)}"


def _typed(value: Any) -> str:
    """Return a value as a person types it after its flag; nothing for a flag that is only switched on."""
    if value is True or value is None:
        return ""
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    return str(value)
