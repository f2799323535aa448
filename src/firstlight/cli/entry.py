"""The entry point: command-line words in, an exit code out; every user error is reported in one line."""

import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import takewhile
from typing import Any

from firstlight import __version__
from firstlight.choices import nearest
from firstlight.cli.commands import (
    Check,
    Compare,
    Evaluate,
    Explain,
    Export,
    Guide,
    Pack,
    Predict,
    Report,
    Serve,
    Train,
    Tune,
)
from firstlight.cli.exit_codes import DONE, WRONG_INPUT
from firstlight.cli.faults import NO_FOLDER, current_folder_exists, reason_of
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import INTERRUPTED, OUR_MISTAKE, owe_json, print_error
from firstlight.cli.options import build, either
from firstlight.cli.parser import Command, name_of, read_words
from firstlight.cli.terminal import flush, say, tell, write
from firstlight.errors import NoteWarning, UserError
from firstlight.escaping import escape_name, one_line
from firstlight.files import expand_user
from firstlight.progress import silence
from firstlight.runtime.distributed import launched
from firstlight.runtime.processors import set_up_process
from firstlight.runtime.signals import received_signal, tell_interrupted, working
from firstlight.training.recipe import HOMES

COMMANDS: tuple[type[Command], ...] = (
    Check,
    Train,
    Tune,
    Evaluate,
    Report,
    Compare,
    Predict,
    Explain,
    Export,
    Serve,
    Pack,
    Guide,
)
# What other tools call our commands. They are suggested, not accepted: one thing has one name.
OTHER_NAMES = {
    "check": "inspect scan stats validate-data verify",
    "pack": "shard shards tar webdataset",
    "train": "fit finetune learn",
    "tune": "automl hpo hyperparameters optimize search sweep tuning",
    "evaluate": "benchmark eval score test val valid validate validation",
    "compare": "ab diff mcnemar versus vs",
    "predict": "classify detect infer inference label run",
    "explain": "attribute cam explanation gradcam heatmap heatmaps interpret saliency why",
    "export": "compile convert deploy onnx quantize save torchscript",
    "report": "dashboard html page show summary",
    "serve": "api app host http server start web",
    "guide": "course docs learn notebook notebooks tutorial",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 2 wrong input, 130 or 143 interrupted.

    What the user or the machine caused is told in one line; a mistake of ours is raised.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    owe_json(words)
    set_up_process()
    try:
        with working(), notes_in_one_line():
            code = run(words)
            flush()
    except KeyboardInterrupt as stop:
        code = interrupted(stop)
    except BrokenPipeError:  # whoever read our output has stopped reading
        return DONE
    except Exception as error:
        if received_signal() is not None:  # what was interrupted may have failed in its own way
            return interrupted(error)
        if not launched().is_leader and isinstance(error, UserError | OSError):
            return WRONG_INPUT  # rank 0 tells it
        if (reason := reason_of(error)) is None:
            print_error(OUR_MISTAKE)
            raise
        tell(one_line(f"firstlight: {reason}"))
        print_error(reason)
        return WRONG_INPUT
    return code


def interrupted(stop: BaseException) -> int:
    """Tell that the command was interrupted, and what was saved, in one line; return the exit code."""
    reason = None if isinstance(stop, KeyboardInterrupt) else reason_of(stop)
    notes = "".join(f"; {with_flags(note)}" for note in (*filter(None, [reason]), *getattr(stop, "__notes__", ())))
    line, number = f"firstlight: interrupted{notes}", received_signal()
    if not launched().is_leader:
        return 128 + (number or signal.SIGINT)
    tell(line) if number is None else tell_interrupted(one_line(line))
    print_error(INTERRUPTED + notes)
    return 128 + (number or signal.SIGINT)


@contextmanager
def notes_in_one_line() -> Iterator[None]:
    """Show the library's notes in one line each, without the line of code that they come from, once on each machine."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, NoteWarning):
            if launched().local_rank == 0:
                tell(f"note: {message}")
        else:
            before(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def run(words: list[str]) -> int:
    """Run the command that the words name, and return its exit code.

    Raises:
        UserError: if they cannot be understood, or the command meets one.
    """
    first, rest = (words[0], words[1:]) if words else ("", [])
    if first in ("-V", "--version", "version"):
        say(f"firstlight {__version__}")
        return DONE
    if first == "--print-completion":
        from firstlight.cli.completion import completion

        write(completion(COMMANDS, rest[0] if rest else ""))
        return DONE
    if first in ("-h", "--help", "--help-all", "help"):
        return show_help(command_named(rest[0]) if rest and not rest[0].startswith("-") else None, first)
    command = command_named(first)
    asked = [word for word in takewhile(lambda word: word != "--", rest) if word in ("-h", "--help", "--help-all")]
    if asked:
        return show_help(command, asked[-1])
    parsed = parse(words)
    if not current_folder_exists():  # libraries end the process over that
        raise UserError(NO_FOLDER)
    here = launched()
    if here.size > 1 and not isinstance(parsed, Train):
        raise UserError(
            f"{words[0]} works in a single process, and torchrun has started {here.size}; leave torchrun out"
        )
    with silence() if getattr(parsed, "quiet", False) or not here.is_leader else nullcontext():
        return parsed.run()


def command_named(word: str) -> type[Command]:
    """Return the command of this name.

    Raises:
        UserError: if there is none; it suggests one.
    """
    by_name = {name_of(command): command for command in COMMANDS}
    if word in by_name:
        return by_name[word]
    if not word or word.startswith("-"):
        if meant := nearest(word.lstrip("-"), ("help", "help-all", "version")) if word else None:
            raise UserError(f"there is no option {escape_name(word)}; did you mean --{meant}?")
        no_option, first = (f"{escape_name(word)}: ", " first") if word else ("", "")
        raise UserError(f"{no_option}name a command{first}: {either(tuple(by_name))}; see --help")
    others = [name for name, others in OTHER_NAMES.items() if word.lower() in others.split()]
    meant = others[0] if others else nearest(word, by_name)
    advice = f"did you mean {meant}?" if meant else f"choose {', '.join(by_name)}"
    raise UserError(f"there is no command {escape_name(word)}; {advice}")


def show_help(command: type[Command] | None, word: str) -> int:
    """Print the help for one command, or the general help."""
    from firstlight.cli.help import command_help, general_help

    lines = command_help(command, everything=word == "--help-all") if command else general_help(COMMANDS)
    for line in lines:
        say(line)
    return DONE


def parse(words: Sequence[str]) -> Command:
    """Return the command that the words stand for; `--recipe FILE` sets choices that other options may then change.

    Raises:
        UserError: if they cannot be understood, or a value is not allowed.
    """
    command = command_named(words[0])
    given, base = read_words(command, words[1:]), None
    if file := given.get("recipe"):
        from firstlight.training.recipe_file import from_toml

        recipe, source, notes = from_toml(expand_user(file))
        base = (Tune if command is Tune else Train).of(recipe, source or Train.source)
        for note in notes:
            tell(f"note: {note}")
    if command is Tune:  # what is given is not searched
        given["keep"] = (*given.get("keep", ()), *(name for name in given if name in HOMES))
    parsed: Command = build(command, given, base)
    return parsed
