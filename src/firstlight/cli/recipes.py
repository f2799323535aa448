"""What commands that train have in common: a recipe made of their options, and the pictures that they name."""

from typing import TYPE_CHECKING, Any

from firstlight.cli.flags import with_flags
from firstlight.cli.terminal import tell
from firstlight.data.recipe import DataRecipe
from firstlight.training.recipe import GROUPS

if TYPE_CHECKING:
    from firstlight.data.samples import Samples


def choices_in(holder: Any) -> dict[str, Any]:
    """Return the choices in a recipe, or in a command that has the same fields: what either can be made with."""
    return {name: getattr(holder, name) for name in (*GROUPS, "seed", "device")}


def load_noted(source: str, choices: DataRecipe) -> "Samples":
    """Return the labeled pictures of a source, and tell what was decided while reading it.

    Raises:
        DataError: if it cannot be used.
    """
    from firstlight.data.sources import load_data

    samples = load_data(source, **choices.source_choices())
    for note in samples.notes:
        tell(f"note: {with_flags(note)}")
    return samples
