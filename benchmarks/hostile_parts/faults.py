"""Bombs, kills, signals, full disks and races: what benchmarks of their own try, and count, is a row here."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.images import quietly
from hostile_parts.place import Place

HERE = Path(__file__).resolve().parents[1]
SPARE_BYTES = 700 * 2**20
SECONDS = 120.0  # a decoder is ended after 10 of processor time, and tried once more
FEW = 20  # kills, for which not all variants are tried
COUNTED = {  # the module, its function, and how many it tries, by the name of the row
    "signals": ("signals", "signals", 200),
    "full disks": ("fill", "fill_points", 60),
    "races": ("races", "races", 60),  # of each of nine kinds
    "claims of one run folder": ("claims", "claim_races", 500),
}


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for each kind of fault."""
    yield bombs(place)
    yield kills(place.count(1_000))
    for name, (module, function, goal) in COUNTED.items():
        yield counted(name, module, function, place.count(goal))


def bombs(place: Place) -> Row:
    """Return what came of small files that would take minutes or gigabytes: each is read or refused in time."""
    name = "bombs"
    if (found := _function("bombs", "bombs")) is None:
        return Row(name, skipped="benchmarks/bombs.py is not here")
    folder = place.fresh("bombs")
    for number, (kind, data) in enumerate(islice(found(), place.most)):
        (folder / f"{number:03} {kind}".replace("/", " ")).write_bytes(data)
    files = sorted(folder.iterdir())

    def attempt(number: int) -> Found:
        from firstlight.errors import ImageError
        from firstlight.inference.inputs import Item, Target, read_item
        from firstlight.white import TYPES_WHITE

        data = files[number].read_bytes()
        with suppress(ImageError):
            read_item(Item(data), Target((3, 32, 32), "crop", 50_000_000, TYPES_WHITE))
        return Found("", len(data))

    return tried(name, len(files), lambda number: quietly(attempt, number), seconds=SECONDS, spare_bytes=SPARE_BYTES)


def kills(count: int) -> Row:
    """Return after how many kills a resumed run was another one."""
    row = Row("kills, resumed")
    words = ["--kills", str(count)] if count >= FEW else ["--smoke"]
    done = subprocess.run([sys.executable, str(HERE / "kills.py"), *words], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        found = json.loads(line) if line.startswith("{") else {}
        if "kills" in found and not found["side"].startswith("control"):
            row.tried += found["kills"]
            row.failures += [f"{found['side']}: {found['different']}"] * (found["resumed_runs"] - found["identical"])
            row.failures += [f"{found['side']}: {fault}" for fault in found["failed"]]
    if not row.tried:
        row.failures.append(f"kills.py ended with {done.returncode}: {done.stderr[-300:]!r}")
    return row


def counted(name: str, module: str, function: str, count: int) -> Row:
    """Return the row of a benchmark that returns how many were tried, and how many failed."""
    if (found := _function(module, function)) is None:
        return Row(name, skipped=f"benchmarks/{module}.py is not here")
    number, failed = found(count)
    return Row(name, number, [f"see benchmarks/{module}.py"] * failed)


def _function(module: str, name: str) -> Callable[..., Any] | None:
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError):
        return None
    return function
