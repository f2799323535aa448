"""The record of a run, `evaluation.json`: its metadata and scores, as one type with one reader and one writer."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from firstlight.errors import RunError
from firstlight.evaluation.conformal import SetScores
from firstlight.evaluation.evaluate import Evaluation
from firstlight.evaluation.intervals import Estimate
from firstlight.evaluation.mixed_up import MixedUp
from firstlight.evaluation.shortcuts import Shortcut
from firstlight.files import read_regular, write_json
from firstlight.locks import NO_LOCKS
from firstlight.runs.folder import RECORD_FILE, paths_in
from firstlight.runs.record_layout import from_file_layout, to_file_layout
from firstlight.runs.seals import require_seal, resealed, sealed
from firstlight.tables import Html, data_frame

if TYPE_CHECKING:
    from pandas import DataFrame

if sys.platform != "win32":
    import fcntl

IF_CHANGED = "restore it from a copy, or remove it and score the model again with `firstlight evaluate`"
MAJORITY, NEIGHBORS, LINEAR_HEAD = "majority class", "nearest neighbors", "linear head"  # rungs, from the lowest


@dataclass(frozen=True)
class Rung:
    """One way to classify, and how well it does on the validation images.

    Attributes:
        name: for people.
        accuracy: on the validation images.
        seconds: what it took beyond the rungs before it.
        epochs: of gradient descent that it took; 0 for what is solved or needs no training.
    """

    name: str
    accuracy: Estimate
    seconds: float
    epochs: int = 0


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy and log loss (in nats) on the validation images, after training on so many images."""

    images: int
    accuracy: Estimate
    log_loss: float


@dataclass(frozen=True)
class LearningCurve:
    """Validation accuracy against the number of training images.

    Attributes:
        points: what was measured, fewest images first.
        forecast: numbers of images that there are not yet, each with the accuracy to expect.
    """

    points: tuple[CurvePoint, ...]
    forecast: tuple[tuple[int, float], ...]

    @property
    def last_drop(self) -> float:
        """The fraction of the log loss that the last step of the curve took away."""
        return 1 - self.points[-1].log_loss / self.points[-2].log_loss


@dataclass(frozen=True, kw_only=True)
class TransferRecord:
    """How a run built on a pretrained network.

    Attributes:
        backbone: `timm:NAME` or `torchvision:NAME`.
        weights: `source`, `license` and `sha256` of the file it started from.
        strategy: the name of the rung that was kept.
        ladder: the rungs in the order in which they were tried.
        case: which of the four cases of transfer learning the images are in, with what it was decided by and the
            advice that follows; None if the run was interrupted before.
        learning_curve: accuracy against the number of images; None likewise.
        head: `strength` of the penalty on the exact linear head.
        next_step: what is likely to gain more, for people, with choices between backticks; empty if nothing is.
    """

    backbone: str
    weights: dict[str, str]
    strategy: str
    ladder: tuple[Rung, ...]
    case: dict[str, Any] | None
    learning_curve: LearningCurve | None
    head: dict[str, float]
    next_step: str = ""

    @property
    def remark(self) -> str:
        """Why the rung that was kept is not the best one, for people; empty if it is."""
        kept = next((rung for rung in self.ladder if rung.name == self.strategy), None)
        best = max(self.ladder, key=lambda rung: rung.accuracy.value)
        if kept is None or best.name not in (MAJORITY, NEIGHBORS) or best.accuracy.value <= kept.accuracy.value:
            return ""
        more = round((best.accuracy.value - kept.accuracy.value) * best.accuracy.n)
        why = {
            MAJORITY: "the network's features do not tell the classes apart",
            NEIGHBORS: f"they need every training picture to predict, so the model is the {kept.name}",
        }[best.name]
        return f"{best.name} got {more:,} more of {best.accuracy.n:,} validation pictures right, but {why}"

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each rung of the ladder: its validation accuracy, seconds, and if kept.

        Raises:
            UserError: if pandas is not installed.
        """
        return data_frame(self._rows())

    def _repr_html_(self) -> str:
        return Html(f"Built on {self.backbone}").table(self._rows()).text()

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "rung": rung.name,
                "accuracy": rung.accuracy.value,
                "accuracy_low": rung.accuracy.low,
                "accuracy_high": rung.accuracy.high,
                "seconds": rung.seconds,
                "kept": rung.name == self.strategy,
            }
            for rung in self.ladder
        ]


@dataclass(frozen=True, kw_only=True)
class TrustRecord:
    """When the model is unsure, and how that did on the test split.

    Attributes:
        coverage: the fraction of images whose prediction set should hold the right class.
        set_quantile: 1 - the least probability of a class in a set, learned from validation; 1 if that had too few
            images, so that every class stays possible.
        measured_on: what the sets were learned from: `split` and `n`.
        stranger_threshold: an image that is stranger than this is unlike anything in training; None if the model
            cannot tell.
        kept: the fraction of known images that this threshold keeps, as estimated in training.
        test: how the sets of all images together did on the test split; None if it was left locked.
        test_by_class: how sets did that cover every class by itself.
        test_kept: the fraction of test images that are not called strangers.
    """

    coverage: float
    set_quantile: float
    measured_on: dict[str, Any]
    stranger_threshold: float | None = None
    kept: Estimate | None = None
    test: SetScores | None = None
    test_by_class: SetScores | None = None
    test_kept: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a run, besides its model and what the model said.

    Attributes:
        source: where the images came from, for people.
        source_key: digest of the packed images, which tells whether a set is the one that was trained on.
        classes: the K names.
        n: images in `train`, `valid` and `test`.
        quarantined: images that could not be used.
        leaks: groups of images that were found in more than one split.
        dropped: images left out because of that.
        notes: what a person should know about the images and their split.
        epochs: how many were trained.
        best_epoch: the one that the model is of; 0 for a pretrained network with the exact head.
        seconds: of `pack`, `train` and `total`.
        valid: scores on the validation split, which chose the model and its temperature, so a little optimistic.
        test: scores on the test split; None if the run was interrupted, or left the test split locked.
        test_evaluations: how often the test split has been scored.
        leaked: the names of the images in each of the `leaks`.
        resize: how images are brought to the network's size: `crop`, `crop:0.875`, `pad` or `squash`.
        two_labels: pictures that are in two classes: the `image` and `label` of each copy.
        near_two_labels: the same for near copies, which may be different pictures that look alike.
        transfer: how a pretrained network was used; None if there was none.
        model_choice: a sentence about which network was chosen, and why; empty in older records.
        shortcuts: what tells the classes apart and is not the object; empty in older records.
        trust: when the model is unsure, and how that did on the test split; None in older records.
        suspects: training images whose labels are probably wrong, see `suspects.csv`.
        mixed_up: pairs of classes that are hard to tell apart, by the validation split; empty in older records.
    """

    source: str
    source_key: str
    classes: tuple[str, ...]
    n: dict[str, int]
    quarantined: int
    leaks: int
    dropped: int
    notes: tuple[str, ...]
    epochs: int
    best_epoch: int
    seconds: dict[str, float]
    valid: Evaluation
    test: Evaluation | None
    test_evaluations: int
    leaked: tuple[tuple[str, ...], ...]
    resize: str
    two_labels: tuple[tuple[dict[str, str], ...], ...] = ()
    near_two_labels: tuple[tuple[dict[str, str], ...], ...] = ()
    transfer: TransferRecord | None = None
    model_choice: str = ""
    shortcuts: tuple[Shortcut, ...] = ()
    trust: TrustRecord | None = None
    suspects: int = 0
    mixed_up: tuple[MixedUp, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and finite numbers, in the layout of `evaluation.json`."""
        value: dict[str, Any] = json.loads(json.dumps(to_file_layout(msgspec.to_builtins(self)), allow_nan=False))
        return value

    def summary(self) -> dict[str, Any]:
        """Return what is read first: `to_json` with the headlines of both evaluations, and counts of long lists."""
        kept = {
            key: value
            for key, value in self.to_json().items()
            if key not in ("best_epoch", "source_key", "test_evaluations", "leaked", "resize")
        }
        return {
            **kept,
            "valid": headline(self.valid),
            "test": headline(self.test) if self.test else None,
            "conflicts": len(self.two_labels),
            "shortcuts": len(self.shortcuts),
        }


def headline(evaluation: Evaluation) -> dict[str, Any]:
    """Return the scores that are read first, each with its interval and n, as plain dicts."""
    names = ("accuracy", "log_loss", "top5", "macro_f1", "ece")
    scores = {name: asdict(getattr(evaluation, name)) for name in names}
    return scores if evaluation.calibration is None else scores | {"calibration": asdict(evaluation.calibration)}


def write_record(folder: Path, record: Record) -> Record:
    """Write the record of a run, atomically; the count of test evaluations in the file never goes down.

    Returns:
        the record as written: where others have scored the test split meanwhile, with their count.
    """
    file = folder / RECORD_FILE
    if not file.is_file():
        _write(folder, record)
        return record
    with _locked(file):
        try:
            counted = _count_of(_json_of(file))
        except RunError:  # what is damaged is replaced
            counted = 0
        record = replace(record, test_evaluations=max(record.test_evaluations, counted))
        _write(folder, record)
    return record


def read_record(folder: Path) -> Record:
    """Read the record of a run, of this version or one before.

    Raises:
        RunError: if there is none, or it is not a record that firstlight wrote, or not as it was written.
    """
    file = folder / RECORD_FILE
    value = _json_of(file)
    require_seal(file, value, IF_CHANGED)
    try:
        record = msgspec.convert(from_file_layout(value, folder), Record)
        missing = {"train", "valid", "test"} - record.n.keys() | {"total"} - record.seconds.keys()
        if missing or not record.classes:
            raise KeyError(min(missing, default="classes"))
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError, UnicodeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{file}: not a record that firstlight wrote ({reason}); it is damaged") from None
    return record


def count_test_evaluation(folder: Path) -> int | None:
    """Count one more evaluation of the test split in the record of a run, whoever else counts at the same time.

    Returns:
        how many there are now; None if the folder holds no record.

    Raises:
        RunError: if the record is damaged, was edited, or cannot be written; it then stays as it is.
    """
    file = folder / RECORD_FILE
    if not file.is_file():
        return None
    try:
        with _locked(file):
            value = _json_of(file)
            require_seal(file, value, IF_CHANGED)
            count = _count_of(value, file) + 1
            write_json(file, resealed(value | {"test_evaluations": count}))
    except OSError as error:
        raise RunError(
            f"{file}: it cannot be written ({error.strerror}), so evaluations of the test split cannot be counted in it"
        ) from None
    return count


def _write(folder: Path, record: Record) -> None:
    write_json(folder / RECORD_FILE, sealed(paths_in(folder) | record.to_json()))


def _json_of(file: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object with finite numbers."""
    try:
        value = json.loads(read_regular(file), parse_constant=_refuse)
    except FileNotFoundError:
        raise RunError(f"{file}: there is no record of a run here; give the folder of a finished run") from None
    except OSError as error:
        raise RunError(f"{file}: the record of this run cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise RunError(f"{file}: not a record that firstlight wrote (it is not valid JSON); it is damaged") from None
    if not isinstance(value, dict):
        raise RunError(f"{file}: not a record that firstlight wrote (it is no JSON object); it is damaged")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number in JSON")


def _count_of(value: dict[str, Any], file: Path | None = None) -> int:
    count = value.get("test_evaluations")
    if type(count) is not int or count < 0:
        raise RunError(
            f"{file}: not a record that firstlight wrote, so evaluations of the test split cannot be counted in it"
        )
    return count


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock on a file that may be replaced meanwhile.

    A process that waited for the replaced file waits again, for the new one.
    """
    if sys.platform == "win32":  # which cannot replace a file that is open
        yield
        return
    while True:
        with file.open("r+b") as held:  # network file systems lock only what is open for writing
            try:
                fcntl.flock(held, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            if os.path.samestat(os.fstat(held.fileno()), file.stat()):
                yield
                return
