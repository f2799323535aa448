"""What a person reads: answers on stdout, everything else on stderr, with untrusted names escaped."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from firstlight.cli.flags import flag, with_flags
from firstlight.cli.labels import class_lines, suspect_lines
from firstlight.cli.layout import counted, fitted, is_too_long
from firstlight.cli.scores import class_table, trust_lines
from firstlight.errors import UserError
from firstlight.escaping import escape, escape_name
from firstlight.progress import is_silent
from firstlight.runtime.distributed import own_name

if TYPE_CHECKING:
    from firstlight.evaluation.shortcuts import Shortcut
    from firstlight.inference.predictor import Prediction
    from firstlight.runs.record import Record, TransferRecord
    from firstlight.training.run import Run

MAX_ROWS = 10  # of a list that a person is shown; the files and --json hold them all
MAX_LEAKS = 3  # groups of copies that a person is shown after training


def say(text: str) -> None:
    """Write a line of the answer to stdout."""
    write(_line(sys.stdout, text))


def tell(text: str) -> None:
    """Write a note to stderr, unless the command is to be quiet, or nothing can be written there."""
    if not is_silent():
        with suppress(OSError, ValueError):
            sys.stderr.write(_line(sys.stderr, text))


def write(text: str) -> None:
    """Write a part of the answer to stdout.

    Raises:
        BrokenPipeError: if nobody reads it any more.
        UserError: if it cannot be written, as to a full disk.
    """
    with _answering():
        sys.stdout.write(text)


def flush() -> None:
    """Write what is left of the answer; fails as `write` does."""
    with _answering():
        sys.stdout.flush()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"the answer cannot be written to standard output: {error.strerror or error}") from None


def tell_run(run: "Run") -> None:
    """Report how a run went, the test score first."""
    record = run.record
    tell_labels(run)
    tell_shortcuts(record.shortcuts)
    scored = f", scored once on {counted(record.n['test'], 'test picture')}" if run.test else ""
    say(f"trained on {counted(record.n['train'], 'picture')}, validated on {record.n['valid']:,}{scored}")
    for note in run.data.notes:
        say(f"note: {with_flags(note)}")
    if run.test:
        say(f"test accuracy  {run.test.accuracy}")
        say(f"test log loss  {run.test.log_loss}")
        for line in [*class_table(run.test), *trust_lines(run.test, record.trust)]:
            say(line)
    if run.interrupted or not run.test:
        tell_interruption(run)
    if run.transfer:
        tell_transfer(run.transfer)
    if record.quarantined:
        say(f"{counted(record.quarantined, 'picture')} could not be used; quarantine.csv says why")
    if record.leaks:
        tell_leaks(record)
    say(f"finished in {run.seconds['total']:.1f} s; run folder {run.folder}")
    tell_files(run.folder)
    if run.test:
        say("next:")
        for step in next_steps(run):
            say(f"  {step}")


def tell_interruption(run: "Run") -> None:
    """Report what an interrupted run still lacks."""
    left = "the report is not written yet" if run.test else "the best model so far is kept, without a test score"
    say(f"interrupted: {left}")
    say(f"to go on where it stopped: {own_name()} train --resume {shlex.quote(str(run.folder))}")
    if not run.test:
        say(f"validation accuracy  {run.valid.accuracy}")


def tell_labels(run: "Run") -> None:
    """Report which labels are wrong or probably wrong, and which classes are hard to tell apart."""
    from firstlight.runs.folder import SUSPECTS_FILE
    from firstlight.runs.suspects import read_suspects

    tell_two_labels(run.record.two_labels, run.record.near_two_labels)
    suspects = [each.to_json() for each in read_suspects(run.folder)]
    lines = [
        *suspect_lines(suspects, str(run.folder / SUSPECTS_FILE)),
        *class_lines(run.record.mixed_up, (), "in validation, "),
    ]
    for line in lines:
        say(line)


def tell_files(folder: Path) -> None:
    """Print where the model, the report and the figures of a run are."""
    from firstlight.runs.folder import MODEL_FILE, REPORT_FILE

    say(f"  model    {folder / MODEL_FILE}")
    if (folder / REPORT_FILE).is_file():
        say(f"  report   {folder / REPORT_FILE}")
    if figures := sorted(file.name for file in folder.glob("*.png")):
        say(f"  figures  {', '.join(figures)}")


def tell_leaks(record: "Record") -> None:
    """Report the copies that are in more than one split."""
    are = "is" if record.leaks == 1 else "are"
    say(f"{counted(record.leaks, 'group')} of copies {are} in more than one split, such as:")
    for leak in record.leaked[:MAX_LEAKS]:
        say("  " + " = ".join(leak))
    were = "was" if record.dropped == 1 else "were"
    left_out = f"{counted(record.dropped, 'training picture')} {were} left out because of that"
    say(f"  {left_out if record.dropped else flag('drop_leaks') + ' leaves the training copies out'}")


def next_steps(run: "Run") -> list[str]:
    """Return what to do after training, in at most three lines."""
    from firstlight.runs.folder import HELD_OUT_FILE, REPORT_FILE

    folder = shlex.quote(str(run.folder))
    steps = [f"firstlight predict {folder} {shlex.quote(str(run.folder / HELD_OUT_FILE))}"]
    if (run.folder / REPORT_FILE).is_file():
        steps.append(f"open {run.folder / REPORT_FILE} in a browser: mistakes, classes, and what to do next")
    if run.test and run.test.accuracy.value < 1:
        steps.append(f"list all mistakes in Python: firstlight.load_run({str(run.folder)!r}).mistakes.to_pandas()")
    return steps


def tell_two_labels(exact: Sequence[Sequence[Mapping[str, str]]], near: Sequence[Sequence[Mapping[str, str]]]) -> None:
    """Report pictures that are in two classes, before anything else: one of their labels must be wrong."""

    def listed(groups: Sequence[Sequence[Mapping[str, str]]]) -> None:
        for group in groups[:MAX_ROWS]:
            say("  " + " = ".join(f"{copy['image']} ({copy['label']})" for copy in group))
        if len(groups) > MAX_ROWS:
            say(f"  and {len(groups) - MAX_ROWS:,} more; --json lists them all")

    if exact:
        which = "1 picture has" if len(exact) == 1 else f"{len(exact):,} pictures have"
        say(f"wrong labels: {which} two labels; delete the wrong copies:")
        listed(exact)
    if near:
        which = "1 group of near copies has" if len(near) == 1 else f"{len(near):,} groups of near copies have"
        say(f"possibly wrong labels: {which} two labels; check whether they show the same thing:")
        listed(near)


def tell_shortcuts(shortcuts: "Sequence[Shortcut]") -> None:
    """Report what tells the classes apart and is not the object, and what to do about it."""
    from firstlight.evaluation.shortcut_words import shortcut_lines

    for line in shortcut_lines(shortcuts):
        say(line)


def tell_transfer(transfer: "TransferRecord") -> None:
    """Report how well each rung of the ladder did, and what to do next."""
    say(f"built on {transfer.backbone}, weights {transfer.weights['source']}, license {transfer.weights['license']}")
    say("  step                     validation accuracy         seconds")
    for rung in transfer.ladder:
        found, kept = rung.accuracy, "  <- kept" if rung.name == transfer.strategy else ""
        say(f"  {rung.name:<24} {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] {rung.seconds:14.1f}{kept}")
    if transfer.remark:
        say(f"  {transfer.remark}")
    if transfer.case:
        say(f"  {case_words(transfer.case, advise=not transfer.next_step)}")
    if transfer.next_step:
        say(f"  {with_flags(transfer.next_step)}")
    if (curve := transfer.learning_curve) and len(curve.points) > 2:
        measured = ", ".join(f"{point.images:,}: {point.accuracy.value:.3f}" for point in curve.points)
        expected = ", ".join(f"{images:,}: {accuracy:.3f}" for images, accuracy in curve.forecast)
        say(f"  accuracy of the linear head by number of training pictures  {measured}; forecast  {expected}")


def amount_words(images: str, drop: float) -> str:
    """Return whether there are few or many pictures, and how much the last doubling lowered the log loss, in words."""
    doubling, by = "the last doubling of the training set", f"{drop:.0%}"
    if images == "few":
        if drop > 0:
            return f"More pictures would help: {doubling} lowered the log loss by {by}."
        return "There are too few pictures to measure how much more of them would help."
    if drop > 0:
        return f"There are enough pictures: {doubling} lowered the log loss by only {by}."
    return f"There are enough pictures: {doubling} did not lower the log loss."


def case_words(case: Mapping[str, Any], *, advise: bool = True) -> str:
    """Return one of the four cases of transfer learning as a sentence, and what to do about it."""
    amount = amount_words(case["images"], case["drop"])
    sure = "" if case["confidence"] is None else f" (its confidence in its own classes is {case['confidence']:.0%})"
    distance = {
        "near": f" They look like what the network was pretrained on{sure}.",
        "far": f" They look unlike what the network was pretrained on{sure}.",
        "unknown": "",
    }[case["domain"]]
    return f"{amount}{distance}" + (f" Advice: {with_flags(case['advice'])}" if advise else "")


def tell_check(found: Mapping[str, Any]) -> None:
    """Report what `check` found, wrong labels first, with the names of the pictures."""
    from firstlight.evaluation.mixed_up import MixedUp
    from firstlight.evaluation.shortcuts import Shortcut

    tell_two_labels(found["two_labels"], found["near_two_labels"])
    mixed_up = [MixedUp(**{name: tuple(value) for name, value in pair.items()}) for pair in found.get("mixed_up", ())]
    for line in class_lines(mixed_up, found.get("too_small", ())):
        say(line)
    for line in suspect_lines(found.get("suspects", ()), "--json"):
        say(line)
    judged = "suspects" in found and len(found["too_small"]) < len(found["classes"])
    if judged and not any(each["flagged"] for each in found["suspects"]):
        say("no label is probably wrong, as far as the pictures tell")
    tell_shortcuts([Shortcut(**shortcut) for shortcut in found["shortcuts"]])
    for reason in found["training_refuses"]:
        say(f"train will refuse this set: {with_flags(reason)}")
    classes = len(found["classes"])
    say(f"{found['source']}: {counted(found['n'], 'picture')} in {counted(classes, 'class')}")
    say("  classes  " + _counted(found["classes"]))
    if found.get("splits"):
        say("  splits   " + ", ".join(f"{name} {count:,}" for name, count in found["splits"].items()))
    say("  sizes    " + _counted(found["sizes"]))
    say("  modes    " + _counted(found["modes"]))
    notes = [
        *found["source_notes"],
        *found["training_notes"],
        *(f"{text}: {len(names):,}, such as {escape_name(names[0])}" for text, names in found["notes"].items()),
    ]
    for note in notes[:MAX_ROWS]:
        say(f"  note     {with_flags(note)}")
    if len(notes) > MAX_ROWS:
        say(f"  note     and {len(notes) - MAX_ROWS:,} more; --json lists them all")
    rows = [f"{row['image']}: {with_flags(row['reason'])}" for row in found["quarantined"]]
    _list(f"{counted(len(rows), 'picture')} cannot be used" if rows else "every picture can be used", rows)
    advice = " (train --drop-leaks leaves the training copies out)"
    for title, key in (
        ("exact copies", "duplicates"),
        ("near copies", "near_duplicates"),
        ("copies in more than one split", "leaks"),
    ):
        groups = found[key]
        shown = f"{counted(len(groups), 'group')} of {title}{advice if key == 'leaks' else ''}"
        _list(shown if groups else f"no {title}", [" = ".join(group) for group in groups])


def show_table(predictions: "Iterator[Prediction]") -> tuple[int, int]:
    """Print one line per picture as it comes; return how many there were, and how many of them had errors."""
    count = errors = 0
    for prediction in predictions:
        count += 1
        errors += prediction.error is not None
        rest = "  ".join(f"{guess.label} {guess.probability:.1%}" for guess in prediction.top[1:])
        answer = f"{prediction.label} {prediction.probability:.1%}" if prediction.error is None else ""
        doubt = f"  unsure: {prediction.reason}" if prediction.unsure else ""
        line = f"{prediction.image}  {answer or 'error: ' + with_flags(str(prediction.error))}{doubt}"
        if rest and is_too_long(f"{line}  ({rest})", sys.stdout):
            say(line)
            say(f"    ({rest})")
        else:
            say(f"{line}  ({rest})" if rest else line)
    return count, errors


def _line(stream: TextIO, text: str) -> str:
    """Return a line with names escaped, in the encoding of the stream; on a terminal, broken between words."""
    encoding = stream.encoding or "utf-8"
    safe = escape(text).encode(encoding, "backslashreplace").decode(encoding)
    return fitted(safe, stream) + "\n"


def _counted(counts: Mapping[str, int]) -> str:
    shown = [f"{escape_name(name)} {count:,}" for name, count in list(counts.items())[:MAX_ROWS]]
    return ", ".join(shown) + (f" and {len(counts) - MAX_ROWS:,} more" if len(counts) > MAX_ROWS else "")


def _list(title: str, rows: Sequence[str]) -> None:
    say(f"  {title}" + (":" if rows else ""))
    for row in rows[:MAX_ROWS]:
        say(f"    {row}")
    if len(rows) > MAX_ROWS:
        say(f"    and {len(rows) - MAX_ROWS:,} more; --json lists them all")
