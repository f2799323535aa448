"""Is an interrupt ever swallowed, or a traceback? Sends signals at random moments in the lives of commands.

    python benchmarks/signals.py --signals 200

A command is started, by the script that pip would install and by `python -m firstlight` in turn, and gets SIGINT or
SIGTERM at a moment drawn evenly from its whole life. It must end with exit code 130 or 143 and one line that says so,
without a traceback, and without a library's last words; a server that already answers ends with 0, as it should. What
training leaves is a folder that is finished, one that can be resumed, or none.

A signal that comes before the first line of firstlight runs, while Python itself starts, is not counted, nor is one
that comes when everything is written and only the process has yet to go. Prints one JSON line for each command.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

LAST_WORDS = ("Traceback", "Exception ignored", "terminate called", "Aborted", "Fatal Python error", "Error:")
SCRIPT = "import sys\nfrom firstlight.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
TRAIN = ["train", "digits", "--model", "mlp", "--epochs", "1", "--out"]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOST_SECONDS = 600
RESUMED_EVERY = 10  # of the folders that should be resumable, one in so many is


@dataclass
class Command:
    """A command whose life is disturbed, and how that went."""

    name: str
    words: list[str]
    life: float = 0.0  # seconds, undisturbed
    tried: int = 0
    failed: list[str] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Send the signals, print the rows, and exit with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--commands", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    choices = parser.parse_args()
    tried, failed = signals(choices.signals, choices.seed, choices.commands)
    print(f"tried {tried}, failed {failed}")
    sys.exit(failed > 0)


def signals(count: int = 200, seed: int = 0, only: list[str] | None = None) -> tuple[int, int]:
    """Send signals, and return how many were sent and after how many something was wrong."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit it if it is ignored
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "firstlight").write_text(SCRIPT)
        found = [one for one in commands(place) if only is None or one.name in only]
        if any(str(place) in word for one in found for word in one.words):
            start(place, [*TRAIN, str(place / "model")], 0).communicate()
        for each in found:
            started = time.monotonic()
            undisturbed(place, each)
            each.life = time.monotonic() - started
        for each in found:
            while each.tried < -(-count // len(found)):
                disturb(place, each, draw)
            row: dict[str, object] = {
                "command": each.name,
                "life": round(each.life, 1),
                "tried": each.tried,
                "failed": len(each.failed),
            }
            print(json.dumps(row | {"left": dict(each.left), "what": each.failed[:3]}), flush=True)
    return sum(each.tried for each in found), sum(len(each.failed) for each in found)


def commands(place: Path) -> list[Command]:
    """Return the commands; some of them need a model in `place`."""
    model = str(place / "model")
    picture = f"{model}/held_out.png"
    return [
        Command("train", [*TRAIN, "RUN"]),
        Command("check", ["check", "digits"]),
        Command("predict", ["predict", model, *[picture] * 50, "--csv", str(place / "answers.csv")]),
        Command("evaluate", ["evaluate", model, "digits", "--split", "valid"]),
        Command("export", ["export", model, "--out", str(place / "model.onnx")]),
        Command("serve", ["serve", model, "--port", "0"]),
    ]


def start(place: Path, words: list[str], number: int) -> subprocess.Popen[str]:
    """Start a command by the script, or as a module."""
    how = [str(place / "firstlight")] if number % 2 else ["-m", "firstlight"]
    return subprocess.Popen(
        [sys.executable, *how, *words],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FIRSTLIGHT_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"},
    )


def undisturbed(place: Path, command: Command) -> None:
    """Let a command live its whole life; a server's ends a moment after it answers."""
    run = place / "undisturbed"
    said = ""
    with start(place, [str(run) if word == "RUN" else word for word in command.words], 0) as process:
        assert process.stderr
        if command.name == "serve":
            while (line := process.stderr.readline()) and "serving" not in line:
                said += line
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=MOST_SECONDS)
    assert process.returncode == 0, said + out + err
    shutil.rmtree(run, ignore_errors=True)


def disturb(place: Path, command: Command, draw: random.Random) -> None:
    """Send one signal to a command, and note what was wrong with how it ended."""
    sent, moment, number = draw.choice(SIGNALS), draw.uniform(0.02, command.life), draw.randrange(2)
    run = place / "run"
    with start(place, [str(run) if word == "RUN" else word for word in command.words], number) as process:
        time.sleep(moment)
        heard = hears(process.pid)
        if process.poll() is None:
            process.send_signal(sent)
        try:
            out, err = process.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += "\nError: it did not end"
    wrong = fault(command, process.returncode, sent, err)
    if heard and (process.returncode or wrong):
        command.tried += 1
        if command.name == "train":
            state = left_by_training(place, run)
            command.left[state] += 1
            wrong = wrong or (f"left {state}" if state not in ("nothing", "finished", "resumable") else "")
        if wrong:
            how = "script" if number else "module"
            command.failed.append(f"{sent.name} after {moment:.2f} s ({how}): {wrong}")
    elif heard and command.name == "serve" and "serving" in err:
        command.tried += 1
    shutil.rmtree(run, ignore_errors=True)


def hears(process: int) -> bool:
    """Return whether a process has its handlers: SIGTERM is one that Python does not handle by itself."""
    try:
        status = Path(f"/proc/{process}/status").read_text("ascii")
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def fault(command: Command, code: int, sent: signal.Signals, err: str) -> str:
    """Return what was wrong with how a command ended; empty if nothing was."""
    lines = [line for line in err.splitlines() if line.startswith("firstlight:")]
    if words := [words for words in LAST_WORDS if words in err]:
        return f"{words[0]}: {err[-1500:]}"
    if code == 0:  # it had finished before the signal came, or it is a server
        return f"exit code 0, but {lines}" if lines else ""
    if code != 128 + sent:
        return f"exit code {code}: {err[-500:]}"
    return "" if len(lines) == 1 and "interrupted" in lines[0] else f"not one line: {err[-500:]}"


def left_by_training(place: Path, run: Path) -> str:
    """Return what training left: nothing, a finished run, one that can be resumed, or what else."""
    if not run.exists():
        return "nothing"
    if (run / "evaluation.json").exists() and json.loads((run / "evaluation.json").read_text()).get("test"):
        return "finished"
    if not (run / "last" / "begun.json").exists():
        return f"unknown: {sorted(file.name for file in run.iterdir())}"
    if random.randrange(RESUMED_EVERY) == 0:
        with start(place, ["train", "--resume", str(run)], 0) as process:
            _, err = process.communicate(timeout=MOST_SECONDS)
        if process.returncode:
            return f"not resumable: {err[-500:]}"
    return "resumable"


if __name__ == "__main__":
    main()
