"""What a person reads: answers on stdout, words by the way on stderr; names from outside are made harmless."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from firstlight.errors import DataError
from firstlight.escaping import escape
from firstlight.files import atomic_path, open_csv

if TYPE_CHECKING:
    from firstlight.delivery.predict import Prediction
    from firstlight.training.run import Run
    from firstlight.training.transfer.ladder import Transfer

LISTED = 10  # rows of a list that a person is shown; the files and --json hold them all


def say(text: str) -> None:
    """Write a line of the answer."""
    _write_line(sys.stdout, text)


def tell(text: str) -> None:
    """Write a line by the way."""
    _write_line(sys.stderr, text)


def print_json(value: Any) -> None:
    """Write one JSON value as the whole answer; names that are no valid Unicode stay readable by programs."""
    json.dump(value, sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


def tell_run(run: "Run") -> None:
    """Tell how a run went: the test score first."""
    counts = run.to_json()["n"]
    scored = f", scored once on {counts['test']:,}" if run.test else ""
    say(f"trained on {counts['train']:,}, chosen on {counts['valid']:,}{scored} pictures")
    for note in run.data.notes:
        say(f"note: {note}")
    if run.test:
        say(f"test accuracy  {run.test.accuracy}")
        say(f"test log loss  {run.test.log_loss}")
    else:
        say("interrupted: the best model so far is kept, without a test score")
        say(f"validation accuracy  {run.valid.accuracy}")
    if run.transfer:
        tell_transfer(run.transfer)
    if run.data.store.quarantined:
        say(f"set aside as unusable: {len(run.data.store.quarantined):,}; quarantine.csv has the reasons")
    if run.data.leaks:
        names = run.data.samples.names
        say(f"{len(run.data.leaks):,} groups of copies stand in more than one part of the split, such as:")
        for leak in run.data.leaks[:3]:
            say("  " + " = ".join(names[row] for row in leak))
        dropped = len(run.data.dropped)
        say(f"  {dropped:,} were taken out" if dropped else "  --drop-leaks takes the training copies out")
    say(f"in {run.seconds['total']:.1f} s; run folder {run.folder}")
    say(f"  model     {run.folder / 'model.safetensors'}")
    if run.test:
        say(f"  pictures  {', '.join(sorted(image.name for image in run.folder.glob('*.png')))}")
        say(f"try: firstlight predict {run.folder / 'model.safetensors'} {run.folder / 'held_out.png'}")


def tell_transfer(how: "Transfer") -> None:
    """Tell what each rung of the ladder was worth, and what follows."""
    say(f"built on {how.backbone}, weights {how.weights.source}, license {how.weights.license}")
    say("  rung                     validation accuracy         seconds")
    for rung in how.ladder:
        found, kept = rung.accuracy, "  <- kept" if rung.name == how.strategy else ""
        say(f"  {rung.name:<24} {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] {rung.seconds:14.1f}{kept}")
    if how.case:
        say(f"  {how.case}")
    if how.curve and len(how.curve.points) > 2:
        measured = ", ".join(f"{point.images:,}: {point.accuracy.value:.3f}" for point in how.curve.points)
        expected = ", ".join(f"{images:,}: {accuracy:.3f}" for images, accuracy in how.curve.forecast)
        say(f"  accuracy of the linear head by pictures  {measured}; to be expected  {expected}")


def tell_check(found: Mapping[str, Any]) -> None:
    """Tell what `check` found: the good news short, the bad news with names."""
    say(f"{found['source']}: {found['n']:,} pictures in {len(found['classes'])} classes")
    say("  classes  " + _counted(found["classes"]))
    say("  sizes    " + _counted(found["sizes"]))
    say("  modes    " + _counted(found["modes"]))
    for note in found["source_notes"]:
        say(f"  note     {note}")
    for text, names in found["notes"].items():
        say(f"  note     {text}: {len(names):,}, such as {names[0]}")
    rows = [f"{row['image']}: {row['reason']}" for row in found["quarantined"]]
    _list("cannot be used", rows)
    for title, key in (
        ("groups of exact copies", "duplicates"),
        ("groups of near copies", "near_duplicates"),
        ("groups of copies across the split (train --drop-leaks takes the training copies out)", "leaks"),
    ):
        _list(title, [" = ".join(group) for group in found[key]])


def show_table(predictions: "Iterator[Prediction]") -> tuple[int, int]:
    """Print a line an image as it comes; give how many there were, and how many of them had errors."""
    count = errors = 0
    for prediction in predictions:
        count += 1
        errors += prediction.error is not None
        rest = "  ".join(f"{guess.label} {guess.probability:.1%}" for guess in prediction.top[1:])
        answer = f"{prediction.label} {prediction.probability:.1%}" if prediction.error is None else ""
        say(f"{prediction.image}  {answer or 'error: ' + str(prediction.error)}" + (f"  ({rest})" if rest else ""))
    return count, errors


def show_json(predictions: "Iterator[Prediction]") -> tuple[int, int]:
    """Print one JSON list, row by row, so that memory stays constant; count as `show_table` does."""
    count = errors = 0
    for prediction in predictions:
        sys.stdout.write(",\n " if count else "[")
        json.dump(prediction.to_json(), sys.stdout, allow_nan=False)
        count += 1
        errors += prediction.error is not None
    sys.stdout.write("]\n" if count else "[]\n")
    return count, errors


def written_to_csv(predictions: "Iterator[Prediction]", path: Path) -> "Iterator[Prediction]":
    """Pass predictions on, and write each as a row; the file appears when the last one is in."""
    if not path.name or (path.exists() and not path.is_file()):
        raise DataError(f"--csv {path}: that is not a file; name one, new or to be replaced")
    try:
        with atomic_path(path) as temporary, open_csv(temporary) as write_row:
            write_row(("image", "label", "probability", "error"))
            for prediction in predictions:
                write_row((prediction.image, prediction.label, prediction.probability, prediction.error))
                yield prediction
    except OSError as error:
        raise DataError(f"--csv {path}: cannot be written ({error.strerror}); name another file") from None


def _write_line(stream: TextIO, text: str) -> None:
    """Write a harmless line in whatever encoding the terminal or the pipe has."""
    encoding = stream.encoding or "utf-8"
    stream.write(escape(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _counted(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:LISTED]]
    return ", ".join(shown) + (f" and {len(counts) - LISTED:,} more" if len(counts) > LISTED else "")


def _list(title: str, rows: Sequence[str]) -> None:
    say(f"  {len(rows):,} {title}" + (":" if rows else ""))
    for row in rows[:LISTED]:
        say(f"    {row}")
    if len(rows) > LISTED:
        say(f"    and {len(rows) - LISTED:,} more; --json lists them all")
