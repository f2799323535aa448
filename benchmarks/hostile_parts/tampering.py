"""A finished run in which one bit was flipped: it is noticed, or changes nothing that anybody is told."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.commands import Ran
from hostile_parts.mutations import generator, mutated
from hostile_parts.place import Place

FLIPPED, MUTATED = 1_000, 300
NOT_READ = (".png", ".html", ".csv.part")  # by firstlight


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for flipped bits, and one for larger damage."""
    files = [file for file in sorted(place.run.rglob("*")) if file.is_file() and file.suffix not in NOT_READ]
    names = [file.relative_to(place.run) for file in files]
    asked = Asked(place)
    yield tried("tampering: one bit of a run", place.count(FLIPPED), lambda number: asked(names, number, flip=True))
    yield tried("tampering: a damaged run", place.count(MUTATED), lambda number: asked(names, number, flip=False))


class Asked:
    """What is asked of a run, and what the run that nobody touched answers."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.pictures = sorted(place.pictures.rglob("*.png"))[:8]
        self.expected = self._answers(place.run)

    def __call__(self, names: list[Path], number: int, *, flip: bool) -> Found:
        """Damage one file of a copy, and ask."""
        run = self.place.fresh("tampered") / "run"
        shutil.copytree(self.place.run, run)
        name, chance = names[number % len(names)], generator("bit", flip, number)
        data = bytearray((run / name).read_bytes())
        if flip and data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (run / name).write_bytes(data if flip else mutated(bytes(data), chance))
        fault = self._fault(run)
        return Found(f"{name}: {fault}" if fault else "", len(data) + 2**20)

    def _fault(self, run: Path) -> str:
        found = self._answers(run)
        for words, (fault, answer) in found.items():
            if fault:
                return fault
            if answer is not None and answer != self.expected[words][1]:
                return f"{words} answers otherwise, without a word"
        return Ran("report", run, "--json").fault

    def _answers(self, run: Path) -> dict[str, tuple[str, object]]:
        """Return for each question what is wrong with how it ended, and its answer; None if it was refused."""
        ran = Ran("predict", run, *self.pictures, "--json", "--quiet")
        found: dict[str, tuple[str, object]] = {"predict": (ran.fault, None if ran.code else ran.out)}
        found["the scores"] = ("", _scores(run))
        return found


def _scores(run: Path) -> object:
    """Return the test scores of a run as `fl.load_run` shows them; None if it is refused."""
    import firstlight as fl
    from firstlight.errors import UserError

    try:
        loaded = fl.load_run(run)
    except UserError:
        return None
    assert loaded.test is not None
    return json.dumps(loaded.test.to_json())
