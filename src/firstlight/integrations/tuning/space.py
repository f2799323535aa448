"""What a search varies: for each kind of network a table of a few choices, and the values that they may take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from firstlight.choices import did_you_mean
from firstlight.errors import RecipeError
from firstlight.training.defaults import kind_of_network
from firstlight.training.recipe import HOMES, Recipe

DIGITS = 3  # of a number that is drawn; more say nothing and are hard to read


@dataclass(frozen=True)
class Times:
    """From `low` to `high` times the recipe's own value, drawn on a logarithmic scale."""

    low: float
    high: float


@dataclass(frozen=True)
class Multiples:
    """The recipe's own whole number, multiplied by one of these."""

    factors: tuple[float, ...]


@dataclass(frozen=True)
class Between:
    """From `low` to `high`, drawn evenly."""

    low: float
    high: float


@dataclass(frozen=True)
class OneOf:
    """One of these values."""

    values: tuple[Any, ...]


Range = Times | Multiples | Between | OneOf

# What each kind of network leaves to a search. The recipe's own value can always be drawn as well.
SPACES: dict[str, dict[str, Range]] = {
    "mlp": {
        "lr": Times(0.1, 10), "weight_decay": Times(0.05, 20), "batch_size": Multiples((0.5, 1, 2)),
        "epochs": Multiples((0.5, 1, 2)), "label_smoothing": OneOf((0.0, 0.05, 0.1)), "dropout": Between(0.0, 0.5),
        "hidden": OneOf(((256, 128), (512, 256, 128), (1024, 512, 256))), "shift": OneOf((0, 1, 2)),
    },
    "cnn": {
        "lr": Times(0.2, 5), "weight_decay": Times(0.05, 20), "batch_size": Multiples((0.5, 1, 2)),
        "epochs": Multiples((0.5, 1, 2)), "label_smoothing": OneOf((0.0, 0.05, 0.1, 0.2)), "width": OneOf((24, 32, 48)),
        "shift": OneOf((0, 1, 2, 4)), "rotate": OneOf((0.0, 10.0)), "erase": OneOf((0.0, 0.25)),
    },
    "pretrained": {
        "finetune": OneOf(("none", "last", "all")), "feature_passes": OneOf((1, 2, 4)), "lr": Times(0.1, 3),
        "layer_decay": OneOf((0.1, 0.3, 0.6)), "weight_decay": Times(0.1, 10), "epochs": Multiples((0.5, 1, 2)),
        "label_smoothing": OneOf((0.0, 0.1, 0.2)), "crop_scale": OneOf((0.35, 0.6, 0.85)),
        "mixup": OneOf((0.0, 0.2)),
    },
    "from scratch": {
        "lr": Times(0.1, 10), "weight_decay": Times(0.1, 10), "batch_size": Multiples((0.5, 1, 2)),
        "epochs": Multiples((0.5, 1, 2)), "label_smoothing": OneOf((0.0, 0.1, 0.2)),
        "crop_scale": OneOf((0.35, 0.6, 1.0)), "erase": OneOf((0.0, 0.25)), "mixup": OneOf((0.0, 0.2)),
    },
}  # fmt: skip  # a table reads best with few lines per row

# Of a pretrained network these matter, and are drawn, only where something is fine-tuned.
ONLY_IF_FINETUNED = ("lr", "layer_decay", "weight_decay", "epochs", "label_smoothing", "crop_scale", "mixup")
FREE_MOVES = 4  # the largest `shift` that is drawn is this part of the side of an image, 1/4


@dataclass(frozen=True)
class Numbers:
    """Real numbers from `low` to `high`, on a logarithmic scale or not."""

    low: float
    high: float
    log: bool


Drawn = Numbers | OneOf
Space = Mapping[str, Drawn]


class Suggests(Protocol):
    """Whatever draws values by their names, as a trial of Optuna does."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number from a range."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""
        ...


def space_of(recipe: Recipe, side: int, *, keep: Sequence[str] = (), only: Sequence[str] = ()) -> dict[str, Drawn]:
    """Return what is searched around a recipe.

    Args:
        recipe: complete.
        side: the shorter side of the packed images, in pixels.
        keep: choices that stay as they are.
        only: if not empty, nothing else is searched.

    Raises:
        RecipeError: if a name is no choice, or one that is not searched for this network, or nothing is left.
    """
    table = dict(SPACES[kind_of_network(recipe)])
    if recipe.transfer.ladder:
        del table["finetune"]  # the ladder tries all of these itself
    _require_names(table, recipe, keep, only)
    chosen, found = recipe.flat(), {}
    for name in only or table:
        if name in keep:
            continue
        drawn = _around(table[name], chosen[name])
        if name == "shift" and isinstance(drawn, OneOf):
            drawn = OneOf(tuple(value for value in drawn.values if value <= max(side // FREE_MOVES, chosen[name])))
        if isinstance(drawn, Numbers) or len(drawn.values) > 1:
            found[name] = drawn
    if not found:
        raise RecipeError("nothing is left to search, since every choice is given; leave some of them out")
    return {name: found[name] for name in table if name in found}


def _require_names(table: Mapping[str, Range], recipe: Recipe, keep: Sequence[str], only: Sequence[str]) -> None:
    """Refuse names that are no choices, or not searched for this network, or both kept and searched."""
    for field, names in (("search", only), ("keep", keep)):
        for name in names:
            if name not in HOMES:
                raise RecipeError(f"there is no such choice{did_you_mean(name, HOMES)}", field=field, value=name)
    for name in only:
        if name not in table:
            known = ", ".join(table)
            reason = f"this is not searched for {recipe.model.name}; choose from {known}"
            raise RecipeError(reason, field="search", value=name)
        if name in keep:
            reason = "this choice is given as well, or kept; leave one of the two out"
            raise RecipeError(reason, field="search", value=name)


def own_values(space: Space, recipe: Recipe) -> dict[str, Any]:
    """Return the values of a complete recipe as `draw` would draw them."""
    chosen = recipe.flat()
    return {name: as_drawn(chosen[name]) for name in space if not _is_idle(name, recipe)}


def draw(trial: Suggests, space: Space, recipe: Recipe) -> Recipe:
    """Return a recipe with values drawn by a trial; those that would have no effect are not drawn.

    Args:
        trial: draws the values.
        space: what is searched.
        recipe: complete; every other choice.
    """
    for name, values in space.items():  # what decides whether others matter comes first
        if _is_idle(name, recipe):
            continue
        if isinstance(values, Numbers):
            value: Any = rounded(trial.suggest_float(name, values.low, values.high, log=values.log))
        else:
            value = of_drawn(trial.suggest_categorical(name, [as_drawn(one) for one in values.values]), values)
        recipe = recipe.replace(**{name: value})
    return recipe


def rounded(value: float) -> float:
    """Return a number with three digits."""
    return float(f"{value:.{DIGITS}g}")


def as_drawn(value: Any) -> Any:
    """Return a value as a database keeps it: widths of layers become words, as in `512 256 128`."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def of_drawn(value: Any, among: OneOf) -> Any:
    """Return the value that a database kept."""
    return next(one for one in among.values if as_drawn(one) == value)


def _is_idle(name: str, recipe: Recipe) -> bool:
    """Return whether a choice has no effect in a recipe."""
    solved = recipe.model.is_pretrained and not recipe.transfer.ladder and recipe.transfer.finetune == "none"
    return solved and name in ONLY_IF_FINETUNED


def _around(values: Range, own: Any) -> Drawn:
    """Return what may be drawn, the recipe's own value included."""
    match values:
        case Times(low, high):
            return Numbers(low * own, high * own, log=True) if own else OneOf((own,))
        case Multiples(factors):
            return OneOf(tuple(sorted({own, *(max(2, round(factor * own)) for factor in factors)})))
        case Between(low, high):
            return Numbers(min(low, own), max(high, own), log=False)
        case OneOf(known):
            return OneOf(known if own in known else (*known, own))
