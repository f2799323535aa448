"""The options of a command, read from its dataclass: one for each field, and for each field of a group of choices."""

import ast
import dataclasses
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from firstlight.choices import did_you_mean
from firstlight.errors import RecipeError
from firstlight.training.recipe import HOMES

T = TypeVar("T")
Positional = Annotated[T, "positional"]  # a field that is given by its place, without a flag
EVERYDAY = frozenset(
    ("model", "ladder", "finetune", "epochs", "batch_size", "lr", "img_size", "split", "group_by", "label_from", "out")
    + ("recipe", "seed", "device", "json", "quiet", "csv", "labels", "corrections", "shards")
    + ("shard_mb", "shard_images")
    + ("trials", "time_limit", "search", "keep", "storage")
)  # the options of `train`, `tune` and `evaluate` that most people need; --help-all lists all of them
PLACEHOLDERS = {
    "out": "FOLDER", "recipe": "FILE", "csv": "FILE", "weights": "FILE", "data_root": "FOLDER", "img_size": "PIXELS",
    "max_pixels": "PIXELS", "split": "SPLIT", "group_by": "PATTERN", "label_from": "PATTERN", "device": "DEVICE",
    "resize": "HOW", "time_limit": "SECONDS", "rotate": "DEGREES", "image_column": "NAME", "label_column": "NAME",
    "model": "NAME", "class": "NAME", "check": "PICTURES", "shards": "FOLDER",
    "shard_mb": "MEGABYTES", "shard_images": "NUMBER", "search": "NAME", "keep": "NAME", "storage": "URL",
}  # fmt: skip  # what stands for the value of an option, where its type says too little
FLAT_NAMES = {home: name for name, home in HOMES.items()}


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        name: its name in Python, such as `img_size`.
        group: the field of the command that holds it; empty if the command holds it itself.
        field: its name there.
        hint: the type of its value, without None.
        default: its value if none is given; `MISSING` if it is required.
        positional: whether it is given by position, without a flag.
        about: what it means, for a person.
    """

    name: str
    group: str
    field: str
    hint: Any
    default: Any
    positional: bool
    about: str

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value: it is switched on, or off by `--no-`."""
        return self.hint is bool

    @property
    def takes_many(self) -> bool:
        """Whether it takes several values."""
        return get_origin(self.hint) is tuple

    @property
    def takes_text(self) -> bool:
        """Whether the several values that it takes are text, such as paths."""
        return self.takes_many and get_args(self.hint)[0] is str

    @property
    def words(self) -> tuple[str, ...]:
        """The values it may have; empty if any value of its type is allowed."""
        return get_args(self.hint) if get_origin(self.hint) is Literal else ()

    @property
    def placeholder(self) -> str:
        """The placeholder for its value in the help."""
        if self.positional:
            return self.name.upper()
        if self.words:
            return "|".join(self.words)
        kind = get_args(self.hint)[0] if self.takes_many else self.hint
        if self.name == "out" and self.about.startswith("File"):
            return "FILE"
        return PLACEHOLDERS.get(self.name) or {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")

    def value_of(self, text: str) -> Any:
        """Return what a word on the command line means as a value.

        Raises:
            RecipeError: if it is not of the right type.
        """
        if self.words:
            if text not in self.words:
                reason = f"choose {either(self.words)}{did_you_mean(text, self.words)}"
                raise RecipeError(reason, field=self.name, value=text)
            return text
        kind = get_args(self.hint)[0] if self.takes_many else self.hint
        try:
            return kind(text)
        except ValueError:
            expected = {int: "a whole number", float: "a number"}[kind]
            raise RecipeError(f"give {expected}", field=self.name, value=text) from None


@cache
def options_of(command: type) -> tuple[Option, ...]:
    """Return the options of a command in the order of its fields; its own hide those of a group of the same name."""
    found: list[Option] = []
    names = {field.name for field, hint in _fields(command) if not dataclasses.is_dataclass(hint)}
    for field, hint in _fields(command):
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            members = ((own, own_hint) for own, own_hint in _fields(hint) if own.name not in names)
            found += [_option(hint, own, own_hint, field.name) for own, own_hint in members]
        else:
            found.append(_option(command, field, hint, ""))
    return tuple(found)


def groups_of(command: type) -> dict[str, type]:
    """Return the fields of a command that hold a group of choices, with the dataclass of each."""
    hints = ((field.name, hint) for field, hint in _fields(command))
    return {name: hint for name, hint in hints if dataclasses.is_dataclass(hint) and isinstance(hint, type)}


def build(command: type, given: Mapping[str, Any], base: Any = None) -> Any:
    """Return a command with the values that were given.

    Args:
        command: its dataclass.
        given: values by the names of their options.
        base: a command that holds all other values; if None they are the defaults.

    Raises:
        RecipeError: if a value is not allowed.
    """
    changes: dict[str, dict[str, Any]] = {}
    for option in options_of(command):
        if option.name in given:
            changes.setdefault(option.group, {})[option.field] = given[option.name]
    own = changes.pop("", {})
    for group, kind in groups_of(command).items():
        start = kind() if base is None else getattr(base, group)
        own[group] = dataclasses.replace(start, **changes.get(group, {}))
    return command(**own) if base is None else dataclasses.replace(base, **own)


def _fields(kind: type) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind)]


def _option(kind: type, field: dataclasses.Field[Any], hint: Any, group: str) -> Option:
    positional = get_origin(hint) is Annotated
    hint = hint.__origin__ if positional else hint
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    name = FLAT_NAMES.get((group, field.name), field.name.removesuffix("_"))  # `class_`, since `class` is Python's
    return Option(name, group, field.name, hint, field.default, positional, _descriptions(kind).get(field.name, ""))


@cache
def _descriptions(kind: type) -> dict[str, str]:
    """Return the text below each field of a dataclass in its source, as one line, also of fields that it inherits."""
    inherited: dict[str, str] = {}
    for base in filter(dataclasses.is_dataclass, kind.__bases__):
        inherited |= _descriptions(base)
    try:
        tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    except OSError:  # installed without its source
        return {}
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    return inherited | {
        field.target.id: " ".join(text.value.value.split())
        for field, text in zip(body, body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def either(words: tuple[str, ...]) -> str:
    """Return words as a choice: `a, b or c`."""
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
