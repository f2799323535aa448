"""The words of a command line as the values of a command's options.

Error messages are the reason why this is our own: whatever is wrong is one line that says what was meant, the same on
a terminal and through a pipe.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import MISSING
from typing import Any, ClassVar, Protocol

from firstlight.choices import nearest
from firstlight.cli.options import Option, options_of
from firstlight.errors import UserError
from firstlight.escaping import escape_name

DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"  # a word processor makes others of two hyphens
NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


class Command(Protocol):
    """A command: a dataclass whose fields are its options."""

    EXAMPLE: ClassVar[str]

    def run(self) -> int:
        """Run the command, and return the exit code."""
        ...


def read_words(command: type[Command], words: Sequence[str]) -> dict[str, Any]:
    """Return the values that the words of a command line give, by the names of their options.

    Raises:
        UserError: if a word means nothing, or a value is missing or of the wrong type.
    """
    options = options_of(command)
    switches = {f"--no-{option.flag[2:]}": option for option in options if option.is_switch}
    flags = {option.flag: option for option in options if not option.positional}
    given: dict[str, Any] = {}
    places: list[str] = []
    rest = deque(words)
    while rest:
        word = rest.popleft()
        name, equals, value = word.partition("=")
        if word == "--":
            places += rest
            rest.clear()
        elif word == "-" or not word.startswith("-") or NUMBER.fullmatch(word):
            places.append(word)
        elif option := flags.get(name) or switches.get(name):
            if option.is_switch and equals:
                raise UserError(f"{name} takes no value; use {option.flag} or --no-{option.flag[2:]}")
            if option.is_switch:
                given[option.name] = name == option.flag
            elif option.takes_many:
                first = value if equals else _value_after(option, rest)
                given[option.name] = tuple(map(option.value_of, _words_of(option, first, rest)))
            else:
                given[option.name] = option.value_of(value if equals else _value_after(option, rest))
        else:
            raise UserError(_unknown_flag(command, word, [*flags.values()]))
    return given | _by_place(command, places)


def _value_after(option: Option, rest: deque[str]) -> str:
    if not rest or (rest[0].startswith("--") and rest[0] != "--"):
        raise UserError(f"{option.flag} needs a value: {option.flag} {option.placeholder}")
    return rest.popleft()


def _words_of(option: Option, first: str, rest: deque[str]) -> list[str]:
    """Return the words of an option that takes many: numbers, perhaps joined by commas, or any up to the next flag."""
    words = [first]
    if option.takes_text:
        while rest and (rest[0] == "-" or not rest[0].startswith("-")):
            words.append(rest.popleft())
        return words
    while rest and NUMBER.fullmatch(rest[0]):
        words.append(rest.popleft())
    return re.split("[, ]+", " ".join(words))


def _by_place(command: type[Command], places: list[str]) -> dict[str, Any]:
    """Return the values of the options that are given by position."""
    given: dict[str, Any] = {}
    left = list(places)
    for option in (option for option in options_of(command) if option.positional):
        if option.takes_many and left:
            given[option.name], left = tuple(map(option.value_of, left)), []
        elif left:
            given[option.name] = option.value_of(left.pop(0))
        elif option.default is MISSING:
            raise UserError(f"{name_of(command)} needs {option.placeholder}: {command.EXAMPLE}")
    if left:
        raise UserError(_extra_word(command, left[0]))
    return given


def _unknown_flag(command: type[Command], word: str, options: list[Option]) -> str:
    typed = word.lstrip(DASHES).partition("=")[0]
    shown = escape_name(word.partition("=")[0])
    meant = nearest(typed.removeprefix("no-"), [option.name for option in options])
    no = "no-" if typed.startswith("no-") else ""
    advice = (
        f"did you mean --{no}{meant.replace('_', '-')}?" if meant else f"see `firstlight {name_of(command)} --help`"
    )
    return f"{name_of(command)} has no option {shown}; {advice}"


def _extra_word(command: type[Command], word: str) -> str:
    name, equals, value = word.lstrip(DASHES).partition("=")
    options = [option for option in options_of(command) if not option.positional]
    meant = nearest(name, [option.name for option in options]) if equals or word[0] in DASHES else None
    if meant:
        flag = f"--{meant.replace('_', '-')}" + f" {escape_name(value)}" * bool(value)
        return f"{escape_name(word)} is not expected here; did you mean {flag}?"
    places = " ".join(option.placeholder for option in options_of(command) if option.positional)
    return (
        f"{escape_name(word)} is not expected here: {name_of(command)} takes {places}; "
        "put quotes around names that contain spaces"
    )


def name_of(command: type) -> str:
    """Return the name of a command."""
    return command.__name__.lower()
