"""Does a run survive a disk that becomes full? Trains with N bytes of room, for values of N from none to enough.

    python benchmarks/fill.py --points 60

A run whose disk is full must end with exit code 2 and one line, which names a file or a folder, and says what to do;
no state or model that it leaves is damaged, nothing half-written stays, and once there is room it is resumed, or begun
again where it left nothing, and ends with the bits of a run whose disk was never full. Root gets a small disk in
memory, with the cache and the run folder on it; anybody else a limit on the size of files. Prints a JSON line for each
variant: tried, failed, resumed, and what failed first.
"""

import argparse
import contextlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("PYTHONWARNINGS", "ignore")
os.environ["FIRSTLIGHT_PROGRESS"] = "off"
DISK_BYTES = 64 << 20
BACKBONE = ["--model", "timm:test_resnet", "--img-size", "32", "--finetune", "head", "--epochs", "2"]
CNN = ["--model", "cnn", "--width", "8", "--epochs", "2"]


class Variant(NamedTuple):
    """What is trained, and what is on the small disk."""

    name: str
    words: list[str]
    with_cache: bool
    with_figures: bool
    share: float  # of the points


VARIANTS = (
    Variant("backbone, with the cache", BACKBONE, with_cache=True, with_figures=False, share=1 / 3),
    Variant("cnn", CNN, with_cache=False, with_figures=False, share=1 / 3),
    Variant("backbone", BACKBONE, with_cache=False, with_figures=False, share=1 / 6),
    Variant("cnn, with figures and report", CNN, with_cache=False, with_figures=True, share=1 / 6),
)


def main() -> None:
    """Fill the disk at each point, print the rows, and exit with 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=60, help="of all variants together")
    points = parser.parse_args().points
    rows = [row for row in fill_rows(points) if print(json.dumps(row), flush=True) is None]
    sys.exit(any(row["failed"] for row in rows))


def fill_points(points: int = 60) -> tuple[int, int]:
    """Return how many runs were tried, and how many failed."""
    rows = list(fill_rows(points))
    return sum(row["tried"] for row in rows), sum(row["failed"] for row in rows)


def fill_rows(points: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each variant."""
    from kills import import_everything

    with tempfile.TemporaryDirectory() as folder:
        weights = import_everything(Path(folder))
        images = Path(folder) / "images"
        write_images(images)
        for variant in VARIANTS:
            more = ["--weights", str(weights)] if "backbone" in variant.name else []
            with small_disk(Path(folder) / "disk") as disk:
                filling = Filling(disk, Path(folder), [str(images), *variant.words, *more], variant)
                yield {"side": variant.name} | filling.row(round(points * variant.share))


def write_images(folder: Path) -> None:
    """Write some digits as files: a set that is small in the cache as well."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for row in range(240):
        place = folder / str(digits.target[row])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[row] * 15).astype("uint8")).save(place / f"{row}.png")


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Make a folder, which is a disk of its own if this process may make one."""
    place.mkdir()
    made = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)], check=False, capture_output=True
        ).returncode
    )
    try:
        yield place
    finally:
        if made:
            subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(place, ignore_errors=True)


class Filling:
    """The runs of one variant on a disk with little room."""

    def __init__(self, disk: Path, elsewhere: Path, words: list[str], variant: Variant) -> None:
        self.disk, self.words, self.told = disk, words, elsewhere / "told"
        self.cache, self.with_figures = (disk if variant.with_cache else elsewhere) / "cache", variant.with_figures
        self.is_a_disk = disk.is_mount()

    def row(self, points: int) -> dict[str, Any]:
        """Train with more and more room, and return what came of it."""
        from kills_compare import litter, results

        assert self.run([])[0] == 0, self.told.read_text()
        expected, whole = results(self.disk / "run"), self._used()
        resumed, failures = 0, []
        for point in range(points):
            self._clear()
            room = round(whole * 1.1 * point / points)
            code, said = self.run([], room)
            wrong = self._why_wrong(code, said)
            if code == 2 and (self.disk / "run").exists():
                resumed += 1
                code, said = self.run(["resume"])
            elif code == 2:
                code, said = self.run([])
            if not wrong and code != 0:
                wrong = f"it did not go on: {said}"
            if not wrong:
                found = results(self.disk / "run")
                different = {name for name in expected if found.get(name) != expected[name]}
                different |= litter(self.disk / "run") | {file.name for file in self.disk.rglob("*.part")}
                wrong = f"different: {sorted(different)}" if different else ""
            if wrong:
                failures.append(f"{room:,} bytes: {wrong}")
        self._clear()
        return {"tried": points, "failed": len(failures), "resumed": resumed, "bytes": whole, "failures": failures[:9]}

    def run(self, how: list[str], room: int | None = None) -> tuple[int, str]:
        """Train in another process, or resume, and return the exit code and what it said on stderr."""
        folder = str(self.disk / "run")
        words = ["train", "--resume", folder] if how else ["train", *self.words, "--out", folder]
        words += ["--save-every", "0.0001"]
        if room is not None and self.is_a_disk:
            (self.disk / "ballast").write_bytes(bytes(max(0, shutil.disk_usage(self.disk).free - room)))
        child = os.fork()
        if child == 0:
            code = 70
            try:
                if room is not None and not self.is_a_disk:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (room // 4, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
                code = self._child(words)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(FileNotFoundError):
            (self.disk / "ballast").unlink()
        return os.waitstatus_to_exitcode(status), self.told.read_text()

    def _child(self, words: list[str]) -> int:
        from kills import leave_figures_out

        os.environ["FIRSTLIGHT_CACHE"] = str(self.cache)
        if not self.with_figures:
            leave_figures_out()
        from firstlight.cli import main as command

        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = command(words)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc()
                code = 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.told.write_text(said.getvalue())
        return code

    def _why_wrong(self, code: int, said: str) -> str:
        """Return what is wrong with how a run on a full disk ended; empty if nothing is."""
        lines = [line for line in said.splitlines() if line.startswith("firstlight: ")]
        if code == 0:
            return ""
        if code != 2 or "Traceback" in said:
            return f"exit code {code}: {said[-600:]}"
        if len(lines) != 1 or str(self.disk) not in lines[0]:
            return f"it names no file, or takes several lines: {said[-600:]}"
        if not re.search(r"free|room|larger|resume|again|limit", lines[0]):
            return f"it does not say what to do: {lines[0]}"
        return ""

    def _used(self) -> int:
        return sum(file.stat().st_blocks * 512 for file in self.disk.rglob("*"))

    def _clear(self) -> None:
        for path in self.disk.iterdir():
            shutil.rmtree(path)


if __name__ == "__main__":
    main()
