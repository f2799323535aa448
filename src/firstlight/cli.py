"""The command line: thin commands, each calls one function; what a person reads is in `terminal`.

Nothing heavy is imported before a command that needs it runs, so that `--help` answers at once.
"""

import dataclasses
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg, subcommand

from firstlight import __version__
from firstlight.errors import DataError, UserError
from firstlight.runtime.processors import set_up_process
from firstlight.terminal import print_json, say, show_json, show_table, tell, tell_check, tell_run, written_to_csv
from firstlight.training.recipe import Recipe, from_toml

ENVIRONMENT_ERRNOS = {
    errno.ENOSPC,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EDQUOT,
}  # the disk is full or closed to us
DONE, WRONG_INPUT, INTERRUPTED, TERMINATED = 0, 2, 130, 143


@dataclass(frozen=True)
class Train:
    """Train a classifier on labeled pictures, score it once on held-out ones, and save it."""

    source: Positional[str] = "digits"
    """A folder of class folders, an archive or a list of pictures, or a named set: digits mnist fashion-mnist kmnist
    cifar10 cifar100."""
    choices: Annotated[Recipe, arg(name="")] = dataclasses.field(default_factory=Recipe)
    recipe: Path | None = None
    """Start from the choices in this TOML file, such as an earlier run's recipe.toml."""
    out: Path | None = None
    """The run folder, new or empty; by default runs/<name>-<n>."""
    json: bool = False
    """Print one JSON object instead of words."""

    def run(self) -> int:
        """Train, draw the pictures of the run, and tell."""
        from firstlight.api import train
        from firstlight.data.sources import load_data

        samples = load_data(self.source, data_root=self.choices.data_root)
        for note in samples.notes:
            tell(f"note: {note}")
        run = train(samples, self.choices, self.out)
        print_json(run.to_json()) if self.json else tell_run(run)
        return DONE if run.test else INTERRUPTED


@dataclass(frozen=True)
class Evaluate:
    """Score a model file on labeled pictures."""

    model: Positional[Path]
    """A model.safetensors."""
    source: Positional[str]
    """What `train` takes; classes are matched by name."""
    split: Literal["train", "valid", "test", "all"] = "test"
    """Which part: of the split.csv beside the model if it is of this set, else of the source's own split."""
    data_root: str | None = None
    """Where named sets are looked for."""
    allow_quarantine: bool = False
    """Go on even if more than 1 % of the pictures cannot be used."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print one JSON object instead of words."""

    def run(self) -> int:
        """Score and tell."""
        from firstlight.data.sources import load_data
        from firstlight.delivery.score import score
        from firstlight.runtime.device import pick_device

        samples = load_data(self.source, data_root=self.data_root)
        device = pick_device(self.device)
        found = score(self.model, samples, split=self.split, device=device, allow_quarantine=self.allow_quarantine)
        if self.json:
            print_json({**found.evaluation.to_json(), "split": self.split, "test_evaluations": found.test_evaluations})
            return DONE
        say(f"{self.model} on the {self.split} part of {self.source}")
        for line in str(found.evaluation).splitlines():
            say(line)
        if found.test_evaluations:
            say(f"look number {found.test_evaluations} at this run's test split, counted in its evaluation.json")
        return DONE


@dataclass(frozen=True)
class Predict:
    """Say what is on pictures; one that cannot be used gets a row with the reason, and the rest goes on."""

    model: Positional[Path]
    """A model.safetensors."""
    paths: Positional[tuple[str, ...]]
    """Picture files, folders of them, or - for a list of paths on standard input."""
    top: int = 5
    """How many classes to list for each picture."""
    csv: Path | None = None
    """Write image,label,probability,error to this file, as it goes."""
    workers: int | None = None
    """Threads that decode pictures."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print one JSON list instead of words."""

    def run(self) -> int:
        """Predict and tell, picture by picture."""
        from firstlight.delivery.predict import find_files, predict_files
        from firstlight.models.artefact import load_model
        from firstlight.runtime.device import pick_device

        if not self.paths:
            raise DataError(
                "there is nothing to predict; name picture files, folders, or - for paths on standard input"
            )
        model = load_model(self.model, pick_device(self.device))
        given = (path for word in self.paths for path in (stdin_lines() if word == "-" else [word]))
        predictions = predict_files(model, find_files(given), top=self.top, workers=self.workers)
        if self.csv:
            predictions = written_to_csv(predictions, self.csv)
        count, errors = show_json(predictions) if self.json else show_table(predictions)
        if not count:
            raise DataError(f"no picture found in {' '.join(self.paths)}")
        if errors:
            tell(f"{errors:,} of {count:,} pictures could not be used")
        return DONE if errors < count else WRONG_INPUT


@dataclass(frozen=True)
class Check:
    """Look a set of pictures over before training: what is in it, what cannot be used, and what stands twice."""

    source: Positional[str]
    """What `train` takes."""
    data_root: str | None = None
    """Where named sets are looked for."""
    max_pixels: int = 50_000_000
    """A picture of more pixels is set aside before it is decoded."""
    workers: int | None = None
    """Threads that decode pictures."""
    json: bool = False
    """Print one JSON object instead of words."""

    def run(self) -> int:
        """Decode every picture once, and tell."""
        from firstlight.data.inspection import inspect
        from firstlight.data.sources import load_data

        found = inspect(load_data(self.source, data_root=self.data_root), self.workers, self.max_pixels)
        print_json(found.to_json()) if self.json else tell_check(found.to_json())
        return DONE


@dataclass(frozen=True)
class Guide:
    """Write the nine chapters of the guide as notebooks, to read, run and change."""

    folder: Positional[Path] = Path("firstlight-guide")
    """Where to; what is there already stays."""
    json: bool = False
    """Print one JSON object instead of words."""

    def run(self) -> int:
        """Write them and tell where they are."""
        from firstlight.delivery.notebooks import write_notebooks

        notebooks = write_notebooks(self.folder)
        if self.json:
            print_json({"notebooks": [str(path) for path in notebooks]})
            return DONE
        for path in notebooks:
            say(str(path))
        tell(f"open them with: jupyter lab {self.folder}")
        return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give its exit code: 0 done, 2 wrong input, 130 or 143 interrupted."""
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
        code = parse(words).run()
    except UserError as error:
        tell(f"firstlight: {error}")
        return WRONG_INPUT
    except BrokenPipeError:  # the reader of our output has seen enough
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
    """Turn the words of the command line into a command; `--recipe FILE` sets what other flags then change."""
    train = Train()
    if words[:1] == ["train"] and (file := value_of("--recipe", words)):
        choices, source = from_toml(Path(file))
        train = Train(choices=choices, source=source or train.source)
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
        if stop.code:
            raise UserError(f"{first_paragraph(complaint.getvalue())}; `firstlight --help` tells more") from None
        raise


def first_paragraph(box: str) -> str:
    """Give what a box drawn by the parser says first, as one line."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    until = next((place for place, line in enumerate(lines) if not line or line[0] in "─╰"), len(lines))
    return " ".join(lines[:until]).rstrip(".")


def stdin_lines() -> Iterator[str]:
    """Read paths from standard input, one a line, as they come."""
    for line in sys.stdin.buffer:
        if path := line.rstrip(b"\r\n"):
            yield os.fsdecode(path)


def value_of(flag: str, words: list[str]) -> str | None:
    """Find the value of a flag, given as `--flag VALUE` or `--flag=VALUE`."""
    for word, following in zip(words, [*words[1:], None], strict=True):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
