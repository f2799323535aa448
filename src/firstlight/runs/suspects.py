"""The suspects of a run, `suspects.csv`: images whose labels are probably wrong, most suspect first."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from firstlight.errors import RunError
from firstlight.evaluation.mixed_up import MixedUp
from firstlight.files import from_cell, open_regular_text, write_csv
from firstlight.runs.folder import SUSPECTS_FILE

HEADING = ("image", "label", "suggested", "score", "flagged")


@dataclass(frozen=True)
class Suspect:
    """An image that looks more like another class than like its own.

    Attributes:
        image: its name.
        label: what it is labeled as.
        suggested: what it looks like.
        score: 0.5 to 1; higher is more suspect.
        flagged: whether the evidence is strong.
    """

    image: str
    label: str
    suggested: str
    score: float
    flagged: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class LabelCheck:
    """What was found about the labels of a set.

    Attributes:
        suspects: images that look more like another class, most suspect first.
        mixed_up: pairs of classes that are hard to tell apart, worst first.
        small: classes that cannot be judged, because they have too few images, or nothing to be compared with.
    """

    suspects: tuple[Suspect, ...]
    mixed_up: tuple[MixedUp, ...]
    small: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "suspects": [each.to_json() for each in self.suspects],
            "mixed_up": [{name: list(value) for name, value in asdict(pair).items()} for pair in self.mixed_up],
            "too_small": list(self.small),
        }


def write_suspects(folder: Path, suspects: Iterable[Suspect]) -> None:
    """Write `suspects.csv` into a run folder, atomically; only the heading if there are none."""
    rows = ((each.image, each.label, each.suggested, each.score, str(each.flagged).lower()) for each in suspects)
    write_csv(folder / SUSPECTS_FILE, [HEADING, *rows])


def read_suspects(folder: Path) -> tuple[Suspect, ...]:
    """Read the suspects of a run from its folder; none where the run could not judge its labels.

    Raises:
        RunError: if the file is damaged.
    """
    file = folder / SUSPECTS_FILE
    if not file.is_file():
        return ()
    try:
        with open_regular_text(file, newline="") as lines:
            return tuple(
                Suspect(
                    image=from_cell(row["image"]),
                    label=from_cell(row["label"]),
                    suggested=from_cell(row["suggested"]),
                    score=float(row["score"]),
                    flagged={"true": True, "false": False}[row["flagged"]],
                )
                for row in csv.DictReader(lines, strict=True)
            )
    except OSError as error:
        raise RunError(f"{file}: the suspects of this run cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error):
        raise RunError(f"{file}: not a table of suspects that firstlight wrote; it is damaged") from None
