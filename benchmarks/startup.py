"""How long does a command take to start?

    python benchmarks/startup.py

Prints one JSON line per command: the median seconds of a whole process, after one run that warms the disk cache.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import firstlight as fl
from firstlight.training.train import train

ROUNDS = 7


def main() -> None:
    """Measure all commands in turn and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one round of our own commands, which nothing warms up")
    smoke = parser.parse_args().smoke
    rounds = 1 if smoke else ROUNDS + 1
    with tempfile.TemporaryDirectory() as folder:
        run = train(fl.load_data("digits"), fl.Recipe.of(model="mlp", epochs=1), Path(folder, "run"))
        predict = [
            "-m",
            "firstlight",
            "predict",
            str(run.folder / "model.safetensors"),
            str(run.folder / "held_out.png"),
        ]
        commands = {
            "firstlight --help": ["-m", "firstlight", "--help"],
            "import firstlight": ["-c", "import firstlight"],
            "python alone": ["-c", ""],
            "import torch": ["-c", "import torch"],
            "firstlight predict, one picture": predict,
            "import torchvision": ["-c", "import torchvision"],
            "import timm": ["-c", "import timm"],
        }
        if smoke:
            commands = {name: words for name, words in commands.items() if "firstlight" in name}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds):
            for name, words in commands.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
                if number or smoke:
                    seconds[name].append(time.perf_counter() - started)
    for name, values in seconds.items():
        print(json.dumps({"side": name, "seconds": median(values), "runs": [round(value, 3) for value in values]}))


if __name__ == "__main__":
    main()
