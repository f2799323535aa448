"""Check a dataclass of choices: every value has the declared type, is one of the allowed words, and is in range."""

from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from firstlight.errors import RecipeError

TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check_choices(choices: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check every field of a dataclass; None passes where the declared type allows it.

    Args:
        choices: an instance of a dataclass.
        ranges: the lowest and highest allowed number of some fields.

    Raises:
        RecipeError: carries the field and its value, and says what it may be.
    """
    kind: Any = type(choices)
    for name, hint in _hints(kind).items():
        value = getattr(choices, name)
        try:
            if isinstance(value, set | frozenset):  # which msgspec takes for a tuple
                raise msgspec.ValidationError
            msgspec.convert(value, hint)
        except (msgspec.ValidationError, UnicodeError):
            raise RecipeError(_expectation(hint), field=name, value=value) from None
        if name in ranges and value is not None:
            low, high = ranges[name]
            if not low <= value <= high:  # this order also refuses NaN
                raise RecipeError(f"choose a number from {low:g} to {high:g}", field=name, value=value)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: the nearest of `names` as a question, or nothing."""
    from difflib import get_close_matches

    near = get_close_matches(name, names, 1)
    return f"; did you mean {near[0]}?" if near else ""


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _expectation(hint: Any) -> str:
    """Return in words what a value of this type looks like."""
    parts = get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)
    words = [str(word) for part in parts if get_origin(part) is Literal for word in get_args(part)]
    if words:
        return f"choose {', '.join(words)}"
    if any(get_origin(part) is tuple for part in parts):
        return "give a list of whole numbers"
    return f"give {' or '.join(TYPE_WORDS.get(part, part.__name__) for part in parts if part is not NoneType)}"
