"""Are there all answers, each once, after workers and the program itself were killed? And how fast is it?

    python benchmarks/ray_predict.py --images 100000 --kills 3

makes small pictures and a model in a temporary folder, classifies them with `firstlight predict` in one process, then
with `--engine ray`: it kills (SIGKILL) so many workers at random moments, then the program itself with all it started,
and starts it again. It prints one JSON object and exits with 1 if a row is missing, is there twice, or differs.
"""

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model, save_model

WORKER = "ray::"  # how the processes of Ray are called that work
EXACT = 1e-6  # probabilities may differ by that: the command in one process may use more threads


def main() -> None:
    """Measure, and print the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-program", action="store_true", help="do not kill the program itself")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = measure(Path(folder), asked.images, asked.kills, random.Random(asked.seed), not asked.keep_program)
    print(json.dumps(row))
    sys.exit(row["missing"] + row["duplicates"] + row["different"] > 0)


def measure(folder: Path, images: int, kills: int, chance: random.Random, kill_program: bool) -> dict[str, object]:
    """Return the row for so many images and kills."""
    pictures, model = folder / "pictures", folder / "model.safetensors"
    make_pictures(pictures, images)
    torch_model = Classifier(architecture={"name": "mlp"}, classes=tuple("0123456789"), input_size=(1, 8, 8))
    save_model(model, torch_model.eval())
    began = time.monotonic()
    plain = {one.image: one for one in Predictor(load_model(model)).predict_files([str(pictures)])}
    plain_seconds = time.monotonic() - began
    words = ["predict", str(model), str(pictures), "--engine", "ray", "--out", str(folder / "out"), "--json", "--quiet"]
    began = time.monotonic()
    killed, programs = 0, 0
    while True:
        program = subprocess.Popen([sys.executable, "-m", "firstlight", *words], stdout=subprocess.PIPE)
        programs += 1
        before = killed
        while program.poll() is None:
            time.sleep(0.2)
            done = len(list((folder / "out").glob("part-*.parquet")))
            if killed < kills and done > 0 and (workers := workers_below(program.pid)):
                time.sleep(chance.uniform(0, 1))
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    killed += 1
                    print(f"killed worker {killed} after {done} parts", file=sys.stderr)
                time.sleep(chance.uniform(2, 6))
            elif killed >= kills and killed > before and kill_program and programs == 1 and done > 0:
                program.kill()
                program.wait()
                print(f"killed the program after {done} parts", file=sys.stderr)
        assert program.stdout
        said = program.stdout.read()
        if program.returncode >= 0:
            break
    seconds = time.monotonic() - began
    return compared(folder / "out", plain) | {
        "images": images,
        "killed_workers": killed,
        "killed_programs": programs - 1,
        "said": json.loads(said),
        "seconds": round(seconds, 1),
        "images_per_second": round(images / seconds),
        "one_process_images_per_second": round(images / plain_seconds),
    }


def make_pictures(folder: Path, count: int) -> None:
    """Write so many small PNG files of noise, 1,000 in a folder."""
    noise = np.random.default_rng(0)
    for start in range(0, count, 1000):
        below = folder / f"{start:08d}"
        below.mkdir(parents=True)
        for row in range(start, min(start + 1000, count)):
            file = io.BytesIO()
            Image.fromarray(noise.integers(0, 256, (8, 8), np.uint8)).save(file, "png", compress_level=0)
            (below / f"{row:08d}.png").write_bytes(file.getvalue())


def workers_below(program: int) -> list[int]:
    """Return the processes of Ray's actors that a program has started, by walking up from each."""
    parents, found = {}, []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            process = int(folder.name)
            parents[process] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            name = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            if name.startswith(WORKER) and "Map" in name:
                found.append(process)

    def is_below(process: int) -> bool:
        while process > 1:
            if process == program:
                return True
            process = parents.get(process, 0)
        return False

    return [process for process in found if is_below(process)]


def compared(out: Path, plain: dict) -> dict[str, object]:
    """Return how the answers in a folder differ from those of one process."""
    from pyarrow import dataset

    rows = dataset.dataset(out, format="parquet").to_table().to_pylist()
    names = [row["image"] for row in rows]
    different, apart = 0, 0.0
    for row in rows:
        one = plain[row["image"]]
        different += (row["label"], row["error"], row["unsure"]) != (one.label, one.error, one.unsure)
        apart = max(apart, abs((row["probability"] or 0) - (one.probability or 0)))
    return {
        "rows": len(rows),
        "duplicates": len(names) - len(set(names)),
        "missing": len(set(plain) - set(names)),
        "different": different + (apart > EXACT),
        "largest_difference_of_a_probability": apart,
    }


if __name__ == "__main__":
    main()
