"""Ten processes at once need the same of the cache: do all get what is right, and is nothing else left behind?

    python benchmarks/races.py --races 60          # of each kind

In every race, processes that have imported everything are let go at the same moment. Each has to end without an error,
with the bits that one process alone gets; the cache has to hold one copy, and nothing unfinished. Prints one JSON line
for each kind: races, failed, and the first failures.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["FIRSTLIGHT_PROGRESS"] = "off"
PROCESSES = 10
PICTURES, SIDE = 40, 12
LONGEST_SECONDS = 60.0  # of a race


@dataclass
class Table:
    """What the races are about, made once: a set of pictures, a network, and what one process alone gets of each."""

    place: Path
    work: "Work"
    cache: Path = field(init=False)
    samples: Any = field(init=False)
    classifier: Any = field(init=False)

    def __post_init__(self) -> None:
        import numpy as np
        from PIL import Image

        from firstlight.data.image_sources import MIN_AGE_SECONDS
        from firstlight.data.sources import load_data

        self.cache = self.place / "cache"
        os.environ["FIRSTLIGHT_CACHE"] = str(self.cache)
        rng, old = np.random.default_rng(0), time.time() - 3600
        for number in range(PICTURES):
            file = self.place / "pictures" / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(file)
            os.utime(file, (old, old))
        self.samples = load_data(self.place / "pictures")
        if self.work is featured:
            from firstlight.models.classifier import Classifier

            self.classifier = Classifier(
                architecture={"name": "timm:test_resnet", "head": "linear"}, classes=("a", "b"), input_size=(3, 32, 32)
            )
        self.work(self)  # so that forked processes have imported all that they need
        time.sleep(MIN_AGE_SECONDS)  # younger pictures are not indexed


def packed(table: Table) -> str:
    """Pack the pictures; return a digest of all that is known of them."""
    import numpy as np

    from firstlight.data.store import pack

    store = pack(table.samples, SIDE, workers=1)
    facts = (store.digests.tobytes(), store.original_sizes.tobytes(), store.sizes, store.modes, store.duplicates)
    return digest_of(np.asarray(store.pixels).tobytes(), repr(facts).encode(), store.cues.table.tobytes())


def featured(table: Table) -> str:
    """Compute the features of all pictures; return their digest."""
    import numpy as np

    from firstlight.data.dataset import open_dataset
    from firstlight.data.recipe import DataRecipe
    from firstlight.training.transfer.features import extract_features

    data = open_dataset(table.samples, DataRecipe(img_size=32, workers=1))
    return digest_of(np.asarray(extract_features(table.classifier, data, data.split.train, "weights")).tobytes())


def indexed(table: Table) -> str:
    """Return the key of the pictures' content, twice."""
    return f"{table.samples.images.content_key()} {table.samples.images.content_key()}"


def known(_table: Table) -> str:
    """Remember what is known of an export, and recall it."""
    from firstlight.delivery.known_exports import Known, recall, remember

    remember("model", b"content", Known(None, {"machine": {"torch": 1.0, "onnx": 2.0}}))
    return str(recall("model", b"content"))


def whole(_table: Table) -> None:
    """Leave the cache as it is."""


def empty(table: Table) -> None:
    """Begin without a cache."""
    shutil.rmtree(table.cache, ignore_errors=True)


def damaged(table: Table) -> None:
    """Flip a bit in every file of the cache, as a bad disk does; whoever has one open keeps the earlier one."""
    for file in [file for file in table.cache.rglob("*") if file.is_file()]:
        content = bytearray(file.read_bytes())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        file.unlink()
        file.write_bytes(content)


Work = Callable[[Table], str]
# Those without torch come first: a process that has imported it takes ten times as long to fork.
KINDS: dict[str, tuple[Work, Callable[[Table], None], bool]] = {  # what, from which cache, whether some are killed
    "ten pack the same pictures": (packed, empty, False),
    "ten find packed pictures that are damaged": (packed, damaged, False),
    "ten pack the same, and three are killed": (packed, empty, True),
    "ten index the same pictures": (indexed, empty, False),
    "ten find an index that is damaged": (indexed, damaged, False),
    "ten remember the same export": (known, damaged, False),
    "ten compute the same features": (featured, empty, False),
    "ten find features that are damaged": (featured, damaged, False),
    "ten compute features, and three are killed": (featured, damaged, True),
}


def race(table: Table, name: str) -> str:
    """Let ten processes go at once; return what was wrong, or nothing."""
    work, prepare, kills = KINDS[name]
    empty(table)
    alone = _in_process(lambda: work(table), table.place / "alone")()
    if isinstance(alone, int):
        return f"one process alone ended with {alone}"
    prepare(table)
    reader, writer = os.pipe()

    def run() -> str:
        os.close(writer)
        os.read(reader, 1)  # ends when the parent closes its side
        return work(table)

    waits = [_in_process(run, table.place / f"answer-{number}") for number in range(PROCESSES)]
    os.close(reader)
    os.close(writer)
    killed = _kill_some(waits) if kills else set()
    answers = [wait() for wait in waits]
    wrong = [answer for number, answer in enumerate(answers) if answer != alone and number not in killed]
    if wrong:
        return f"{len(wrong)} of {PROCESSES} got something else: {wrong[0]}"
    if kills and (again := _in_process(lambda: work(table), table.place / "again")()) != alone:
        return f"afterwards: {again}"
    return _left_behind(table.cache)


def _kill_some(waits: list[Any]) -> set[int]:
    chosen = set(random.sample(range(PROCESSES), 3))
    for number in chosen:
        time.sleep(random.random() * 0.05)
        os.kill(waits[number].process, signal.SIGKILL)
    return chosen


def _left_behind(cache: Path) -> str:
    """Return what should not be in the cache."""
    litter = [str(file.relative_to(cache)) for file in cache.rglob(".*")]
    if litter:
        return f"left behind: {litter[0]}"
    doubles = [folder.name for folder in cache.iterdir() if len(list(folder.iterdir())) != 1]
    return f"not one copy in {doubles[0]}" if doubles else ""


def _in_process(work: Callable[[], str], answer: Path) -> Any:
    """Begin work in a forked process; return a function that waits for its answer, or its exit code if it failed."""
    answer.unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        try:
            _forget()
            answer.write_text(work())
            os._exit(0)
        except BaseException:
            answer.write_text(traceback.format_exc())
            os._exit(1)

    def wait() -> str | int:
        end = time.monotonic() + LONGEST_SECONDS
        while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > end:
                os.kill(process, signal.SIGKILL)
            time.sleep(0.002)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code < 0 else answer.read_text().strip()

    wait.process = process
    return wait


def _forget() -> None:
    """Forget which folders are known to be writable and without litter, as a process does that has just begun."""
    from firstlight import cache, unfinished

    cache._writable.clear()
    unfinished._swept.clear()


def digest_of(*parts: bytes) -> str:
    """Return a digest of some bytes."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def races(
    each: int = 60, names: tuple[str, ...] = tuple(KINDS), tell: Callable[[str], None] = print
) -> tuple[int, int]:
    """Hold races of each kind, and return how many were held, and how many went wrong."""
    tried = failed = 0
    earlier = os.environ.get("FIRSTLIGHT_CACHE")
    with tempfile.TemporaryDirectory() as place:
        try:
            for number, name in enumerate(names):
                table = Table(Path(place) / str(number), KINDS[name][0])
                faults = [fault for _ in range(each) if (fault := race(table, name))]
                tell(json.dumps({"side": name, "races": each, "failed": len(faults), "first": faults[:2]}))
                tried, failed = tried + each, failed + len(faults)
        finally:
            os.environ.pop("FIRSTLIGHT_CACHE")
            if earlier is not None:
                os.environ["FIRSTLIGHT_CACHE"] = earlier
    return tried, failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=60, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    choices = parser.parse_args()
    random.seed(choices.seed)
    held, wrong = races(choices.races)
    print(f"{held} races, {wrong} failed")
    sys.exit(wrong > 0)
