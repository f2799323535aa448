"""Recipes as TOML files: one table per group of choices; the flat files of earlier versions are still read."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from firstlight.choices import did_you_mean
from firstlight.errors import RecipeError
from firstlight.files import read_regular_text
from firstlight.models.recipe import LIBRARY_PREFIXES
from firstlight.runs.folder import RECIPE_FILE
from firstlight.training.recipe import GROUPS, HOMES, Recipe

# Choices of earlier versions, and their names today. The network was named by either of two choices.
RENAMED = {
    "backbone": "model",
    "fit": "resize",
    "views": "feature_passes",
    "weights_licence": "weights_license",
}


class RecipeFile(NamedTuple):
    """What a recipe file holds.

    Attributes:
        recipe: the choices.
        source: the data it was used on, if the file names it.
        notes: what a person should know about how it was read.
    """

    recipe: Recipe
    source: str | None
    notes: tuple[str, ...] = ()


def to_toml(recipe: Recipe, source: str) -> str:
    """Return a recipe as TOML, with the source it was used on; choices that are None are left out."""
    import tomli_w

    groups = {group: _table(getattr(recipe, group)) for group in GROUPS}
    return tomli_w.dumps({"source": source, "seed": recipe.seed, "device": recipe.device, **groups})


def from_toml(path: Path) -> RecipeFile:
    """Read a recipe, and the source if the file names one.

    Raises:
        RecipeError: if the file cannot be read, or holds a choice that does not exist or has the wrong type.
    """
    try:
        table = tomllib.loads(read_regular_text(path))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); give the path of a recipe in TOML") from None
    except ValueError as error:  # also for a whole number of thousands of digits
        raise RecipeError(f"{path}: not TOML ({error})") from None
    except RecursionError:
        raise RecipeError(f"{path}: it is nested too deeply to be a recipe") from None
    source = table.pop("source", None)
    if not isinstance(source, str | None):
        raise RecipeError(f"{path}: source = {source!r}: give text")
    is_flat = not any(isinstance(value, dict) for value in table.values())
    notes: tuple[str, ...] = ()
    choices = _flat(table, path)
    if is_flat and (source is not None or table.keys() & RENAMED.keys()):
        choices, notes = _modern(table, path)
    for name, value in choices.items():
        own_name = name.rpartition(".")[2]
        if own_name in RENAMED:
            raise RecipeError(f"{path}: the choice {own_name} is now called {RENAMED[own_name]}")
        if isinstance(value, list):
            choices[name] = tuple(value)
    try:
        return RecipeFile(Recipe.of(**choices), source, notes)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def source_choices_of(run: Path) -> dict[str, Any]:
    """Return how the run in a folder read its source, as far as it chose that; nothing if there is no recipe."""
    file = run / RECIPE_FILE
    return from_toml(file).recipe.data.chosen() if file.is_file() else {}


def _table(group: Any) -> dict[str, Any]:
    values = {choice.name: getattr(group, choice.name) for choice in dataclasses.fields(group)}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value is not None
    }


def _flat(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the choices of a file with a table per group by their flat names."""
    choices: dict[str, Any] = {}
    for group, values in table.items():
        if not isinstance(values, dict):
            choices[group] = values
        elif group in GROUPS:
            own_names = {own: flat for flat, (home, own) in HOMES.items() if home == group}
            choices |= {own_names.get(name, f"{group}.{name}"): value for name, value in values.items()}
        else:
            raise RecipeError(f"{path}: there is no group {group}{did_you_mean(group, GROUPS)}")
    return choices


def _modern(table: dict[str, Any], path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the choices of a flat file of an earlier version by their present names, with a note on what changed.

    Earlier versions trained from scratch what was named by `model`, and built on pretrained weights what was named by
    `backbone`.
    """
    if "model" in table and "backbone" in table:
        raise RecipeError(f"{path}: it sets both model and backbone; keep only model")
    choices = {RENAMED.get(name, name): value for name, value in table.items()}
    note = f"{path} was written by an earlier version; its choices are read under their present names"
    name = table.get("model")
    if isinstance(name, str) and name.startswith(LIBRARY_PREFIXES) and "pretrained" not in table:
        choices["pretrained"] = False
        note += f", and {name} is trained from scratch (pretrained = false)"
    return choices, (note,)
