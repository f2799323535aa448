"""What one process of many does: the answers for one block after the other, with a Predictor that is made once."""

import json
import socket
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from firstlight.errors import DataError, UserError
from firstlight.inference.inputs import Item
from firstlight.inference.predictor import Prediction, Predictor
from firstlight.integrations.ray_data.folder import HIDDEN, LIST_FILE, TRIES
from firstlight.integrations.ray_data.listing import Block, Reader
from firstlight.integrations.ray_data.parts import Of, part_name, read_note, write_part
from firstlight.integrations.ray_data.tries import Tries
from firstlight.models.model_file import digest_of, load_model

NOT_FOUND = "cannot be read: No such file"


@dataclass(frozen=True, slots=True)
class Job:
    """What all processes need to know.

    Attributes:
        folder: of the answers.
        model: the model file.
        current: the current folder, where relative paths begin.
        of: what the answers are of.
        is_cluster: whether the processes may be on several machines.
    """

    folder: str
    model: str
    current: str
    of: Of
    is_cluster: bool

    def to_json(self) -> str:
        """Return it in one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return what `to_json` wrote."""
        fields = json.loads(line)
        return cls(**fields | {"of": Of(**fields["of"])})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a block went.

    Attributes:
        images: how many have their answers now.
        errors: how many of them could not be used.
        failure: why nothing more can be done, if that is so.
    """

    images: int = 0
    errors: int = 0
    failure: str | None = None


class Worker:
    """Writes the answers for blocks; the model is loaded with the first one.

    Args:
        job: what is to be done.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._folder = Path(job.folder)
        self._reader = Reader()

    def finish(self, block: Block) -> Outcome:
        """Write the part with the answers for a block, unless it is there."""
        part = self._folder / part_name(block, self._job.of)
        try:
            if part.exists():
                return Outcome(block.images, read_note(part)[1])
            tries = Tries(self._folder / HIDDEN / TRIES / str(block.number))
            items = self._reader.items(self._folder / HIDDEN / LIST_FILE, block)
            predictions = tries.predict(
                len(items), lambda start, stop: self._predict(items[start:stop]), lambda row: items[row].name
            )
            errors = write_part(part, predictions, self._job.of)
            tries.forget()
        except (UserError, OSError) as error:
            return Outcome(failure=self._with_node(str(error)))
        return Outcome(block.images, errors)

    @cached_property
    def _predictor(self) -> Predictor:
        of, model = self._job.of, load_model(self._job.model, self._job.of.device)
        if digest_of(model) != of.model_sha256:
            raise DataError(f"{self._job.model} is another model than the one that this was begun with")
        return Predictor(model, top=1, max_pixels=of.max_pixels, accept=of.accept, sets=of.sets)

    def _predict(self, items: list[Item]) -> list[Prediction]:
        return [
            replace(one, error=self._with_node(one.error)) if (one.error or "").startswith(NOT_FOUND) else one
            for one in self._predictor.predict_items(items)
        ]

    def _with_node(self, reason: Any) -> str:
        return f"{reason} (on {socket.gethostname()})" if self._job.is_cluster else str(reason)
