"""Classify any number of images with Ray Data, and write the answers as Parquet; what was stopped is continued."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.errors import DataError, RecipeError, UserError
from firstlight.files import atomic_path
from firstlight.inference.doubt import Sets
from firstlight.inference.inputs import Item
from firstlight.inference.predictor import Predictor
from firstlight.integrations.ray_data import folder as answers
from firstlight.integrations.ray_data.listing import Block, blocks_of, write_list
from firstlight.integrations.ray_data.parts import Of, part_name, read_note
from firstlight.integrations.ray_data.session import outcomes, require_ray
from firstlight.integrations.ray_data.work import Job
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import digest_of
from firstlight.progress import phase, progress
from firstlight.runtime.processors import default_workers

if TYPE_CHECKING:
    from pandas import DataFrame

NO_FILE = "the ray engine needs the file of the model, and there is none that holds this model; save it first"
KEPT = "what is finished is kept; the same command continues from there"


@dataclass(frozen=True, slots=True)
class Written:
    """Answers that are written as Parquet.

    Attributes:
        out: the folder, which holds Parquet files with a row for each image, in the order of the list.
        images: how many there are.
        errors: how many of them could not be used.
        found: how many had their answers already, from an earlier process.
        model_sha256: of the model file.
        seconds: that this took.
    """

    out: Path
    images: int
    errors: int
    found: int
    model_sha256: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return a table of everything."""
        return {
            "out": str(self.out),
            "images": self.images,
            "errors": self.errors,
            "found": self.found,
            "model_sha256": self.model_sha256,
            "seconds": round(self.seconds, 3),
        }

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each image, in the order of the list."""
        from pyarrow import dataset

        frame: DataFrame = dataset.dataset(self.out, format="parquet").to_table().to_pandas()
        return frame


def predict_to_parquet(
    model: Classifier,
    items: Iterable[Item],
    out: Path,
    *,
    accept: float | None = None,
    sets: Sets = "overall",
    max_pixels: int | None = None,
    workers: int | None = None,
    address: str | None = None,
) -> Written:
    """Classify images in many processes, and write their answers into a folder as Parquet files.

    The answers are those of a `Predictor` with one thread. A folder that an earlier process has begun is continued.

    Args:
        model: from a file, on a processor or a GPU, which is where the processes put it.
        items: every image in order, as `inputs.items_in` yields them.
        out: the folder.
        accept: as for `Predictor`.
        sets: as for `Predictor`.
        max_pixels: as for `Predictor`.
        workers: number of processes; by default one for each processor, or GPU.
        address: of a Ray cluster, `auto` or `ray://HOST:PORT`, where everybody sees the files under the same paths; by
            default a Ray of its own is started.

    Raises:
        UserError: if Ray is not installed or fails, a choice is wrong, there are no images, or the folder holds
            something else.
    """
    require_ray()
    Predictor(model, max_pixels=max_pixels, workers=workers, accept=accept, sets=sets)  # it refuses wrong choices
    digest, began = digest_of(model), time.monotonic()
    if digest is None or model.file is None:
        raise RecipeError(NO_FILE, field="engine", value="ray")
    device = model.mean.device.type
    if device not in ("cpu", "cuda"):
        raise RecipeError("the ray engine runs on cpu or cuda", field="device", value=device)
    out = out.absolute()
    with answers.claimed(out) as hidden:
        with phase("listing pictures"):
            listed = write_list(items, hidden / answers.LIST_FILE)
        if not listed.images:
            raise DataError("there are no pictures to classify; give pictures, folders, archives, or lists")
        of = Of(digest, accept, sets, max_pixels, device, listed.images, listed.digest)
        answers.require_same(out, of)
        job = Job(str(out), str(model.file.absolute()), str(Path.cwd()), of, address is not None)
        found, errors, todo = _missing(out, job, blocks_of(listed), hidden / answers.TODO_FILE)
        with progress("classifying pictures", listed.images, "pictures") as advance:
            advance(found)
            if todo:
                errors += _finish(job, hidden / answers.TODO_FILE, workers, address, advance)
        answers.finish(out)
    return Written(out, listed.images, errors, found, digest, time.monotonic() - began)


def _missing(out: Path, job: Job, blocks: Iterable[Block], todo: Path) -> tuple[int, int, int]:
    """Write down the blocks without answers.

    Returns:
        How many images have theirs, how many of those are errors, and how many blocks are left.
    """
    found = errors = left = 0
    with atomic_path(todo) as temporary, temporary.open("w", encoding="ascii") as lines:
        for block in blocks:
            part = out / part_name(block, job.of)
            if part.exists():
                found += block.images
                errors += read_note(part)[1]
            else:
                lines.write(block.to_json() + "\n")
                left += 1
    return found, errors, left


def _finish(job: Job, todo: Path, workers: int | None, address: str | None, advance: Any) -> int:
    errors = 0
    try:
        for outcome in outcomes(job, todo, workers=workers, processors=default_workers(), address=address):
            if outcome.failure is not None:
                raise UserError(f"{outcome.failure}; {KEPT}")
            errors += outcome.errors
            advance(outcome.images)
    except KeyboardInterrupt as stop:
        stop.add_note(KEPT)
        raise
    return errors
