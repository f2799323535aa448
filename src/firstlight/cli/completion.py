"""A script that completes commands, options and their words in bash, and in zsh by way of its `bashcompinit`."""

from collections.abc import Sequence

from firstlight.cli.options import Option, options_of
from firstlight.cli.parser import Command, name_of
from firstlight.errors import UserError
from firstlight.models.recipe import BACKBONE_WORDS, OWN_NETWORKS

SHELLS = ("bash", "zsh")
SCRIPT = """\
_firstlight() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W "{commands} --help --version --print-completion" -- "$current"))
        return
    fi
    case $before in
{values}
    esac
    if [[ -z $words && $current == -* ]]; then
        case ${{COMP_WORDS[1]}} in
{flags}
        esac
    fi
    [[ -z $words ]] || COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _firstlight firstlight
"""
ZSH_FIRST = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"


def completion(commands: Sequence[type[Command]], shell: str) -> str:
    """Return the script for a shell. Where it knows no words, the shell completes file names.

    Raises:
        UserError: if the shell is another one.
    """
    if shell not in SHELLS:
        raise UserError(f"--print-completion {shell}: choose {' or '.join(SHELLS)}")
    options = {option.flag: option for command in commands for option in options_of(command) if not option.positional}
    values = {flag: words for flag, option in options.items() if (words := words_of(option))}
    values["--print-completion"] = SHELLS
    flags = {name_of(command): tuple(flags_of(command)) for command in commands}
    script = SCRIPT.format(commands=" ".join(map(name_of, commands)), values=_cases(values, 8), flags=_cases(flags, 12))
    return ZSH_FIRST + script if shell == "zsh" else script


def words_of(option: Option) -> tuple[str, ...]:
    """Return the words that an option is likely to take; none if they are not known."""
    return (*BACKBONE_WORDS, *OWN_NETWORKS) if option.name == "model" else option.words


def flags_of(command: type[Command]) -> list[str]:
    """Return the flags of a command."""
    own = [option for option in options_of(command) if not option.positional]
    off = [f"--no-{option.flag[2:]}" for option in own if option.is_switch and option.default is not False]
    return [*(option.flag for option in own), *off, "--help", "--help-all"]


def _cases(words: dict[str, tuple[str, ...]], indent: int) -> str:
    return "\n".join(f'{" " * indent}{name}) words="{" ".join(values)}" ;;' for name, values in words.items())
