"""How a model was made, by name, for people."""

from collections.abc import Mapping
from typing import Any

from firstlight.models.model_file import ModelCard
from firstlight.runs.record import Record

# Choices of a recipe that say how a model was made, with the words for them; none of them names a file.
_LEARNING = {"optimizer": "optimizer", "lr": "learning rate", "batch_size": "batch size", "seed": "seed"}


def making_of(header: ModelCard, record: Record | None) -> dict[str, str]:
    """Return how a model was made, as far as its file and the record of its run say."""
    recipe = header.extra.get("recipe")
    chosen: Mapping[str, Any] = recipe if isinstance(recipe, Mapping) else {}
    transfer = record.transfer if record else None
    found = {}
    if transfer:
        found["tried"] = ", ".join(rung.name for rung in transfer.ladder)
        found["kept"] = transfer.strategy
    if record and record.epochs:
        found["epochs"] = f"{record.epochs:,}; number {record.best_epoch:,} was the best on validation"
    skipped = ("optimizer", "lr", "batch_size") if record and not record.epochs else ()
    for name, words in _LEARNING.items():
        if name not in skipped and type(chosen.get(name)) in (str, int, float):
            found[words] = str(chosen[name])
    found["temperature"] = f"{header.temperature:.4g}, fitted on validation"
    return found
