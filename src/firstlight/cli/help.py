"""The help of the command line, at the width of the terminal."""

import inspect
from collections.abc import Sequence
from dataclasses import MISSING

from firstlight import __version__
from firstlight.cli.layout import definitions, terminal_width, wrapped
from firstlight.cli.options import EVERYDAY, Option, groups_of, options_of
from firstlight.cli.parser import Command, name_of
from firstlight.training.defaults import COMMON, DEFAULTS

SUMMARY = "An image classifier you can trust, from a folder of labeled pictures."
COLUMN = 24  # where descriptions begin
GENERAL = (
    ("-h, --help", "Show this help; after a command, show its options."),
    ("-V, --version", "Show the version."),
    ("--print-completion", "Print a script that completes commands and options: bash or zsh."),
)


def general_help(commands: Sequence[type[Command]]) -> list[str]:
    """Return the lines of `firstlight --help`."""
    width = terminal_width()
    rows = [(name_of(command), _summary(command)) for command in commands]
    return [
        "Usage: firstlight COMMAND [OPTIONS]",
        "",
        *wrapped(f"firstlight {__version__}. {SUMMARY}", width).splitlines(),
        "",
        "Commands:",
        *definitions(rows, width, 14),
        "",
        "Options:",
        *definitions(GENERAL, width, COLUMN),
        "",
        "Examples:",
        *(f"  {command.EXAMPLE}" for command in commands),
        "",
        *wrapped("`firstlight COMMAND --help` shows the options of a command.", width).splitlines(),
    ]


def command_help(command: type[Command], *, everything: bool = False) -> list[str]:
    """Return the lines of the help of one command: its everyday options, or all of them, in groups."""
    width, options = terminal_width(), options_of(command)
    places = [option for option in options if option.positional]
    groups = groups_of(command)
    shown = [option for option in options if everything or not groups or option.name in EVERYDAY]
    lines = [
        f"Usage: {usage(command)}",
        "",
        *wrapped(" ".join((inspect.getdoc(command) or "").split()), width).splitlines(),
        "",
        *definitions([(option.placeholder, described(option)) for option in places], width, COLUMN),
    ]
    for group in [*groups, ""]:
        members = [option for option in shown if option.group == group and not option.positional]
        if members:
            lines += ["", f"{group.capitalize() or 'General' if groups else 'Options'}:"]
            lines += definitions([(term(option), described(option)) for option in members], width, COLUMN)
    lines += ["", f"Example: {command.EXAMPLE}"]
    if len(shown) < len(options) - len(places):
        lines += ["", f"`firstlight {name_of(command)} --help-all` lists all options."]
    return lines


def usage(command: type[Command]) -> str:
    """Return how a command is written."""
    places = [option for option in options_of(command) if option.positional]
    words = [option.placeholder if option.default is MISSING else f"[{option.placeholder}]" for option in places]
    return " ".join(["firstlight", name_of(command), *words, "[OPTIONS]"])


def term(option: Option) -> str:
    """Return how an option is written, with what stands for its value."""
    if not option.is_switch:
        return f"{option.flag} {option.placeholder}" + " ..." * option.takes_many
    return option.flag if option.default is False else f"--[no-]{option.flag[2:]}"


def described(option: Option) -> str:
    """Return what an option means, and its default."""
    default = default_words(option)
    return f"{option.about} ({default})" if default else option.about


def default_words(option: Option) -> str:
    """Return the default of an option in words: one value, or that of each kind of network; empty if there is none."""
    if option.default is None and (values := network_defaults(option.name)):
        return ", ".join(f"{kind} {_written(value)}" for kind, value in values.items())
    if option.default in (None, MISSING, ()) or option.default is False:
        return ""
    return f"default: {_written(option.default)}"


def network_defaults(name: str) -> dict[str, object]:
    """Return what each kind of network takes for a choice that is left open; empty if that depends on more."""
    values = {kind: row.get(name, COMMON.get(name)) for kind, row in DEFAULTS.items()}
    return {} if None in values.values() else values


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _summary(command: type) -> str:
    return (inspect.getdoc(command) or "").partition("\n")[0]
