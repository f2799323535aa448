"""What a model says about images: `Prediction` about one, `Predictions` about several, for programs and for people."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from firstlight.tables import Bar, Html, data_frame

if TYPE_CHECKING:
    from pandas import DataFrame

ROWS_SHOWN = 10  # of several predictions, in a notebook
FEW = 5  # of them, in plain text


@dataclass(frozen=True, slots=True)
class Guess:
    """A class and its calibrated probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one image; or, with `error` set, why it can say nothing.

    Attributes:
        image: the path; None if the image came without one.
        label: the most probable class.
        probability: of that class, calibrated, 0 to 1.
        top: the most probable classes, the most probable first.
        error: why the image cannot be used.
        unsure: whether the answer should not be relied on; None, as the following, if the model cannot tell.
        reason: why it is unsure, such as `unlike anything in training` or `between dress and skirt`.
        set: the classes that remain possible, the most probable first; the right one is among them for nine of ten
            images.
        strangeness: how unlike the training images it is; higher is stranger.
    """

    image: str | None
    label: str | None = None
    probability: float | None = None
    top: tuple[Guess, ...] = ()
    error: str | None = None
    unsure: bool | None = None
    reason: str | None = None
    set: tuple[str, ...] | None = None
    strangeness: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a table of all but `error`, or `{image, error}`."""
        if self.error is not None:
            return {"image": self.image, "error": self.error}
        return {name: value for name, value in asdict(self).items() if name != "error"}

    def _repr_html_(self) -> str:
        shown = Html(self.image or "Prediction")
        if self.error is not None:
            return shown.notes([f"cannot be used: {self.error}"]).text()
        shown.table([{"class": guess.label, "probability": Bar(guess.probability)} for guess in self.top])
        return shown.notes([f"unsure: {self.reason}"] if self.unsure else []).text()


class Predictions(list[Prediction]):
    """What a model says about several images, in their order: a list that becomes a data frame, JSON, or a table."""

    def __repr__(self) -> str:
        more = f", ... {len(self) - FEW:,} more" if len(self) > FEW else ""
        return f"[{', '.join(map(repr, self[:FEW]))}{more}]"

    def to_json(self) -> list[dict[str, Any]]:
        """Return `Prediction.to_json` of each."""
        return [prediction.to_json() for prediction in self]

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each image.

        Its columns are image, label, probability, error, unsure, reason, set, and strangeness.

        Raises:
            UserError: if pandas is not installed.
        """
        columns = ("image", "label", "probability", "error", "unsure", "reason", "set", "strangeness")
        return data_frame(({name: getattr(one, name) for name in columns} for one in self), columns)

    def _repr_html_(self) -> str:
        rows = [
            {
                "image": number if one.image is None else one.image,
                "class": one.label if one.error is None else f"cannot be used: {one.error}",
                "probability": "" if one.probability is None else Bar(one.probability),
                "unsure": one.reason or "",
            }
            for number, one in enumerate(self[:ROWS_SHOWN])
        ]
        count = f"{len(self):,} prediction{'' if len(self) == 1 else 's'}"
        return Html(count).table(rows, more=len(self) - ROWS_SHOWN).text()


class _Row(Protocol):
    def to_json(self) -> dict[str, Any]: ...


def json_list(rows: Iterable[_Row]) -> Iterator[str]:
    """Yield the text of one JSON list, row by row, so that memory stays constant; it ends with a line end.

    >>> print("".join(json_list([Prediction("a.png", error="is empty"), Prediction("b.png", error="is damaged")])))
    [{"image": "a.png", "error": "is empty"},
     {"image": "b.png", "error": "is damaged"}]
    <BLANKLINE>
    """
    between = "["
    for row in rows:
        yield between + json.dumps(row.to_json(), allow_nan=False)
        between = ",\n "
    yield "]\n" if between != "[" else "[]\n"
