"""Pages that the site generates: notebooks, and the command line's reference."""

import inspect
import re
import shutil
from functools import cached_property
from importlib import import_module
from operator import attrgetter
from pathlib import Path

from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

from firstlight.cli.entry import COMMANDS
from firstlight.cli.help import described, term, usage
from firstlight.cli.options import Option, groups_of, options_of
from firstlight.cli.parser import name_of
from firstlight.delivery.notebooks import write_notebooks

HERE = Path(__file__).parent
MADE = HERE / "made"
COLON = "\ue000"  # stands for a colon; a character that no text uses
SHORT = {
    re.escape(stringify_annotation(ArrayLike, "smart")): "ArrayLike",
    r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], "
    r"~numpy\.dtype\[~numpy\.(\w+)\]\]": r"NDArray[\1]",
    r"<built-in function (\w+)>": r"\1",
    "<factory>": "...",
}


def make() -> None:
    """Write notebooks, the command line's reference, and IPython's profile."""
    shutil.rmtree(MADE, ignore_errors=True)
    profile = MADE / "ipython" / "profile_default"  # IPython writes more into it
    profile.mkdir(parents=True)
    shutil.copy(HERE / "theme" / "ipython_kernel_config.py", profile)
    write_notebooks(MADE / "notebooks")
    (MADE / "command_line.md").write_text(command_line(), "utf-8")


def command_line() -> str:
    """Describe every command, as its help does."""
    return "\n".join(command(kind) for kind in COMMANDS)


def command(kind: type) -> str:
    """Describe a command: what it does, its arguments, and its options in groups."""
    options, groups = options_of(kind), groups_of(kind)
    parts = [
        f"## `firstlight {name_of(kind)}`",
        inspect.getdoc(kind) or "",
        f"```text\n{usage(kind)}\n```",
    ]
    parts += [entry(option) for option in options if option.positional]
    for group in [*groups, ""]:
        if groups:
            parts.append(f"### {group.title() or 'General'} options")
        mine = [option for option in options if option.group == group]
        parts += [entry(option) for option in mine if not option.positional]
    return "\n\n".join(parts) + "\n"


def entry(option: Option) -> str:
    """Describe one argument or option as a term and its definition."""
    written = option.placeholder if option.positional else term(option)
    about = described(option).replace("<", "&lt;").replace("*", "\\*")
    return f"`{written}`\n: {about}"


def short_signature(
    _app: object, _what: str, _name: str, _it: object, _options: object, *signature: str
) -> tuple[str | None, ...]:
    """Return the arguments and the result of a function with short names of types."""
    return tuple(part and shorten(part) for part in signature)


def shorten(part: str) -> str:
    """Replace the long names in part of a signature."""
    for long, short in SHORT.items():
        part = re.sub(long, short, part)
    return part


def module_of_cached(_app: object, module: str | None, name: str) -> str | None:
    """Return the module of a cached property; Sphinx would show functools instead."""
    owner_name, _, attribute = name.rpartition(".")
    if module is None or not owner_name:
        return None
    owner = attrgetter(owner_name)(import_module(module))
    cached = isinstance(vars(owner).get(attribute), cached_property)
    return owner.__module__ if cached else None


def hide_colons(
    _app: object, what: str, _name: str, _it: object, _options: object, lines: list[str]
) -> None:
    """Replace the colons in the description of a field or property."""
    if what in ("attribute", "property"):
        lines[:] = [line.replace(":", COLON) for line in lines]


def show_colons(
    _app: object,
    _what: str,
    _name: str,
    _it: object,
    _options: object,
    lines: list[str],
) -> None:
    """Put the colons back."""
    lines[:] = [line.replace(COLON, ":") for line in lines]
