"""One part of the answers: a Parquet file with a row for each image of a block, in order.

What a part is called follows from what is in it: from the model, the choices, and the images and their place.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from firstlight.files import atomic_path
from firstlight.inference.doubt import Sets
from firstlight.inference.prediction import Prediction
from firstlight.integrations.ray_data.listing import Block

COLUMNS = ("image", "label", "probability", "set", "unsure", "error", "model_sha256", "reason")
OF, ERRORS = b"firstlight.of", b"firstlight.errors"  # keys of what a part says of itself
PARTS = "part-*.parquet"


@dataclass(frozen=True, slots=True)
class Of:
    """What the answers in a folder are of: all that decides them.

    Attributes:
        model_sha256: of the model file.
        accept: the least probability of an accepted answer, if it was chosen.
        sets: what nine of ten is true of.
        max_pixels: the limit of pixels, if it was chosen.
        device: `cpu` or `cuda`.
        images: how many.
        names: the digest of their names, in order.
    """

    model_sha256: str
    accept: float | None
    sets: Sets
    max_pixels: int | None
    device: str
    images: int
    names: str

    def to_json(self) -> str:
        """Return it in one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return what `to_json` wrote."""
        return cls(**json.loads(line))


def part_name(block: Block, of: Of) -> str:
    """Return the name of the part with the answers for a block."""
    digest = hashlib.blake2b(f"{of.to_json()} {block.digest}".encode(), digest_size=8).hexdigest()
    return f"part-{block.number:06d}-{digest}.parquet"


def write_part(path: Path, predictions: Sequence[Prediction], of: Of) -> int:
    """Write the answers of a block, atomically; return how many images could not be used.

    Raises:
        WriteError: if it cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    errors = sum(prediction.error is not None for prediction in predictions)
    columns: dict[str, list[Any]] = {
        name: [_cell(getattr(prediction, name)) for prediction in predictions]
        for name in COLUMNS
        if name != "model_sha256"
    }
    columns["model_sha256"] = [of.model_sha256] * len(predictions)
    kinds = {"probability": pa.float64(), "set": pa.list_(pa.string()), "unsure": pa.bool_()}
    schema = pa.schema(
        [(name, kinds.get(name, pa.string())) for name in COLUMNS], metadata={OF: of.to_json(), ERRORS: str(errors)}
    )
    with atomic_path(path) as temporary:
        parquet.write_table(pa.table(columns, schema=schema), temporary, compression="zstd")
    return errors


def read_note(path: Path) -> tuple[Of, int]:
    """Return what the answers in a part are of, and how many of its images could not be used.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no part of ours.
    """
    from pyarrow import parquet

    notes = parquet.read_metadata(path).metadata or {}
    return Of.from_json(notes[OF].decode()), int(notes[ERRORS])


def _cell(value: Any) -> Any:
    """Return a value as Parquet holds it; bytes of a name that are no Unicode are written as escape codes."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return list(map(_cell, value)) if isinstance(value, tuple) else value
