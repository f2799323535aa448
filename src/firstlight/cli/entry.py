"""The entry point: command-line words in, an exit code out; every user error is reported in one line."""

import errno
import io
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, subcommand

from firstlight import __version__
from firstlight.cli.commands import DONE, INTERRUPTED, WRONG_INPUT, Check, Evaluate, Guide, Predict, Train
from firstlight.cli.flags import message
from firstlight.cli.terminal import say, tell
from firstlight.errors import UserError
from firstlight.runtime.processors import set_up_process

TERMINATED = 143
RULE = re.compile(r"[╰─-]{2,}.*")  # a line across a box that the parser draws, between its paragraphs
# The disk is full, or closed to this user: not a bug of ours.
ENVIRONMENT_ERRNOS = {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 2 wrong input, 130 or 143 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        say(f"firstlight {__version__}")
        return DONE
    terminated = False

    def terminate(_signal: int, _frame: Any) -> None:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    set_up_process()
    try:
        code: int = parse(words).run()
    except UserError as error:
        tell(f"firstlight: {message(error)}")
        return WRONG_INPUT
    except BrokenPipeError:  # whoever read our output has stopped reading
        sys.stderr.close()
        return DONE
    except OSError as error:
        if error.errno not in ENVIRONMENT_ERRNOS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        tell(f"firstlight: {where}{error.strerror or error}")
        return WRONG_INPUT
    except KeyboardInterrupt:
        tell("firstlight: interrupted")
        code = INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return TERMINATED if terminated else code


def parse(words: list[str]) -> Any:
    """Return the command that the words stand for; `--recipe FILE` sets choices that other flags may then change."""
    train = Train()
    if words[:1] == ["train"] and (file := value_of("--recipe", words)):
        from firstlight.training.recipe_file import from_toml

        recipe, source, notes = from_toml(Path(file))
        train = Train.of(recipe, source or train.source)
        for note in notes:
            tell(f"note: {note}")
    commands = Annotated[Train, subcommand("train", default=train)] | Evaluate | Predict | Check | Guide
    try:
        with redirect_stderr(io.StringIO()) as complaint:
            return tyro.cli(
                commands,
                prog="firstlight",
                description="An image classifier you can trust, from a folder of labeled pictures.",
                args=words,
                config=(OmitArgPrefixes,),
            )
    except SystemExit as stop:
        if not stop.code:  # help was asked for
            raise
        raise cause_of(stop) or UserError(f"{first_paragraph(complaint.getvalue())}; see `firstlight --help`") from None


def cause_of(error: BaseException) -> UserError | None:
    """Return the error of ours that the parser met while it built a command, if there was one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or cause.__context__
    return cause


def first_paragraph(box: str) -> str:
    """Return the first paragraph inside a box drawn by the parser, as one line, whatever its border is drawn with."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]  # the title is not needed
    text = dropwhile(RULE.fullmatch, lines)
    return " ".join(takewhile(lambda line: line and not RULE.match(line), text)).rstrip(".")


def value_of(flag: str, words: list[str]) -> str | None:
    """Return the value of a flag, given as `--flag VALUE` or `--flag=VALUE`; None if it is not there."""
    for word, following in zip(words, [*words[1:], None], strict=True):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
