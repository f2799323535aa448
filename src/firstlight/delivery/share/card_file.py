"""Write the model card into a file, without ever replacing one that may hold a person's own words."""

from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.delivery.share.card import card_of
from firstlight.errors import UserError
from firstlight.files import PLAIN_TEXT, begins_as, expand_user, read_regular, write_text
from firstlight.models.hub import repository_of
from firstlight.runs.folder import model_file

if TYPE_CHECKING:
    from firstlight.models.classifier import Classifier

CARD_FILE = "model-card.md"


def write_card(model: "Classifier | Path", out: Path | None = None) -> Path:
    """Write what is known of a model as a Markdown model card, and return the file.

    Args:
        model: a model file, a run folder, or a classifier.
        out: the file, which is replaced; by default `model-card.md` beside the model file, which is never replaced by
            another card.

    Raises:
        UserError: if the model cannot be read, there already is another card, or the file cannot be written.
    """
    model = model_file(model) if isinstance(model, Path) else model
    file = expand_user(out) if out is not None else _beside(model)
    if file.is_dir():
        raise UserError(f"that is a folder; name a file, such as {file / CARD_FILE}", field="out", value=str(out))
    if not begins_as(file, PLAIN_TEXT):
        raise UserError("that is no card, so it is not replaced; choose a new file", field="out", value=str(file))
    text = card_of(model).to_markdown()
    try:
        if out is None and file.exists() and read_regular(file) != text.encode():
            raise UserError(
                f"{file} is there already, and may hold words of yours; name another file with `out`, or delete it"
            )
        write_text(file, text)
    except OSError as error:
        raise UserError(f"it cannot be written ({error.strerror})", field="out", value=str(file)) from None
    return file


def card_for(file: Path, repository: str) -> str:
    """Return the card that goes with a model file onto the hub: the one beside it, if there is one.

    Raises:
        UserError: if the card beside it is of another model, or cannot be read.
    """
    card, own = card_of(file), file.with_name(CARD_FILE)
    if not own.is_file():
        return card.to_markdown(repository)
    try:
        text = own.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise UserError(f"{own} cannot be read ({error}); write it again with `to` card") from None
    if card.sha256 is None or card.sha256 not in text:
        raise UserError(
            f"{own} is not about this model: it does not hold its SHA-256; delete it, or write it again with `to` card"
        )
    return text


def _beside(model: "Classifier | Path") -> Path:
    file = model if isinstance(model, Path) else model.file
    if file is None:
        raise UserError(f"a model in memory has no folder; name the file with `out`, such as {CARD_FILE}")
    if repository_of(Path(file)) is not None:
        raise UserError(
            f"this model is in a cache, not in a folder of yours; name the file with `out`, such as {CARD_FILE}"
        )
    return Path(file).with_name(CARD_FILE)
