"""What two run folders must have in common if they are of the same run."""

import csv
import io
import json
from pathlib import Path
from typing import Any

NAMES_A_TIME = "next_step"  # a sentence such as "add `ladder` (about a minute)"
NOT_COMPARED = ("report.html", ".png", "tensorboard/")  # figures, and what is compared by its steps


def results(folder: Path) -> dict[str, Any]:
    """Return what has to be the same: each file without seconds and paths, and the steps of TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text())))
    record = json.loads((folder / "evaluation.json").read_text())
    curves = {}
    if (folder / "tensorboard").is_dir():
        events = EventAccumulator(str(folder / "tensorboard"), purge_orphaned_data=False)
        events.Reload()
        tags = [tag for tag in events.Tags()["scalars"] if tag != "seconds"]
        curves = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}
    names = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    files = {name: file.read_bytes() for name, file in names.items() if not any(part in name for part in NOT_COMPARED)}
    return files | {
        "metrics.csv": [{name: value for name, value in row.items() if name != "seconds"} for row in rows],
        "evaluation.json": without_seconds(
            {key: value for key, value in record.items() if key not in ("run", "model", "sha256")}
        ),
        "tensorboard": curves,
    }


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Return the places in JSON where two values differ."""
    if one == other:
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [found for key in keys for found in differences(one.get(key), other.get(key), f"{place}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, pair in pairs for found in differences(*pair, f"{place}/{number}")]
    return [place]


def without_seconds(value: Any) -> Any:
    """Return JSON without its numbers of seconds."""
    if isinstance(value, dict):
        return {key: without_seconds(one) for key, one in value.items() if "seconds" not in key and key != NAMES_A_TIME}
    return [without_seconds(one) for one in value] if isinstance(value, list) else value


def litter(folder: Path) -> set[str]:
    """Return what should not be in the folder of a finished run."""
    return {
        file.name
        for file in folder.rglob("*")
        if file.name.endswith(".part") or file.name.startswith(".tmp") or file.name == "last"
    }
