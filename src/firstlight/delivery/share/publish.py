"""Publish a model on the hub: its file, its card, and an ONNX export that has been checked."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from firstlight.delivery.export.export import export_model
from firstlight.delivery.share.card_file import card_for
from firstlight.delivery.share.upload import Place, Pushed, push
from firstlight.errors import UserError
from firstlight.files import write_text
from firstlight.models.model_file import digest_of
from firstlight.runs.folder import MODEL_FILE

if TYPE_CHECKING:
    from firstlight.inference.inputs import Item
    from firstlight.models.classifier import Classifier

README_FILE = "README.md"  # which the hub shows


def publish(model: "Classifier", place: Place, *, items: "Iterable[Item] | None" = None) -> Pushed:
    """Upload a model with its card and an ONNX file to the hub, after checking that file; return what was put there.

    Args:
        model: loaded from a file, or saved to one.
        place: where to; it is made, as a private repository, if it does not exist.
        items: the images to check the export on; by default those that the run kept.

    Raises:
        UserError: if the model has no file, the export is refused, or it cannot be uploaded. Nothing is uploaded then.
    """
    file = model.file
    if file is None or digest_of(model) is None:
        raise UserError("this model is not what a file holds, and only files are uploaded; save it first")
    text = card_for(Path(file), place.repository)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export_model(model, "onnx", items=items, out=folder / "model.onnx")
        write_text(folder / README_FILE, text)
        written = {found.relative_to(folder).as_posix(): found for found in folder.rglob("*") if found.is_file()}
        return push(place, {MODEL_FILE: Path(file)} | dict(sorted(written.items())))
