"""The layout of `evaluation.json`: where each field of a record stands in the file, now and in older versions."""

import tomllib
from pathlib import Path
from typing import Any

from firstlight.evaluation.confusion import todays_layout
from firstlight.files import read_regular_text
from firstlight.runs.folder import RECIPE_FILE

TRANSFER_KEYS = ("backbone", "weights", "strategy", "ladder", "case", "learning_curve", "head")
OLDER_KEYS = {"pictures": "images", "licence": "license"}  # what keys were called before


def to_file_layout(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record, as plain dicts, laid out as in the file: those of transfer beside the others."""
    transfer = fields.pop("transfer")
    if transfer is None:
        return fields
    ladder = [{"rung": rung.pop("name"), **rung} for rung in transfer["ladder"]]
    curve = transfer["learning_curve"]
    if curve is not None:
        forecast = [{"images": images, "accuracy": accuracy} for images, accuracy in curve["forecast"]]
        curve = {**curve, "forecast": forecast}
    return {**fields, **transfer, "ladder": ladder, "learning_curve": curve}


def from_file_layout(value: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the fields of a record from the layout of the file, of this version or one before.

    Args:
        value: what the file holds.
        folder: the run folder, whose recipe says how images were resized where an older record does not.

    Raises:
        KeyError, TypeError, AttributeError: if it is not laid out as a record.
    """
    fields = {"resize": older_resize(folder), **value, "transfer": None}
    for split in ("valid", "test"):
        if isinstance(scores := fields.get(split), dict):
            fields[split] = scores | {"confusion": todays_layout(scores.get("confusion"))}
    if "backbone" not in value:
        return fields
    transfer: dict[str, Any] = {key: value[key] for key in TRANSFER_KEYS}
    transfer["next_step"] = value.get("next_step", "")
    transfer["weights"] = _renamed(transfer["weights"])
    transfer["ladder"] = [{**rung, "name": rung["rung"]} for rung in transfer["ladder"]]
    if transfer["case"] is not None:
        transfer["case"] = _renamed(transfer["case"])
    if (curve := transfer["learning_curve"]) is not None:
        points = [_renamed(point) for point in curve["points"]]
        forecast = [(ahead["images"], ahead["accuracy"]) for ahead in map(_renamed, curve["forecast"])]
        transfer["learning_curve"] = {"points": points, "forecast": forecast}
    return fields | {"transfer": transfer}


def older_resize(folder: Path) -> str:
    """Return how a run's images were resized by its recipe of an older version; `crop` where that does not say."""
    try:
        recipe = tomllib.loads(read_regular_text(folder / RECIPE_FILE))
    except (OSError, ValueError, RecursionError):
        return "crop"
    resize = recipe.get("resize", recipe.get("fit", "crop"))
    return resize if isinstance(resize, str) else "crop"


def _renamed(value: dict[str, Any]) -> dict[str, Any]:
    return {OLDER_KEYS.get(key, key): item for key, item in value.items()}
