"""Requests per second and latency of `firstlight serve`, of a plain server, and of LitServe, under the same load.

    python benchmarks/serve.py --side firstlight --data-root ../shared/data --folder /tmp/serve

Prints one JSON line for one client and one for 32, and for firstlight one for the bare call of the model, with
decoding, in the process of a caller. The load comes from wrk, which Debian has as a package.
"""

import argparse
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

HERE = Path(__file__).parent
WEIGHTS = "weights/mobilenet_v2-imagenet.safetensors"
FILES = 32  # photographs, sent in turn
SECONDS_TO_START = 120


def main() -> None:
    """Measure one side and print its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=("firstlight", "plain", "litserve"), required=True)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", type=Path, required=True, help="where the trained run and the pictures are kept")
    parser.add_argument("--seconds", type=int, default=20, help="of load, for each number of clients")
    parser.add_argument("--smoke", action="store_true", help="one second of load, a small network, made-up pictures")
    choices = parser.parse_args()
    seconds = 1 if choices.smoke else choices.seconds
    pictures = photographs(choices)
    if choices.side == "firstlight":
        run = trained(choices)
        print(json.dumps(bare(run, pictures, 10 if choices.smoke else 200)), flush=True)
        command = serve_command(run)
    else:
        command = peer_command(choices)
    with server(command) as url:
        load(url, pictures, clients=4, seconds=2)  # everything is loaded and warm
        for clients in (1, 32):
            row = {"side": f"{choices.side} at {clients} client{'s' * (clients > 1)}"}
            print(json.dumps(row | load(url, pictures, clients=clients, seconds=seconds)), flush=True)


def photographs(choices: argparse.Namespace) -> list[Path]:
    """Write photographs of clothing as files, or made-up ones if this is a smoke run, and return their paths."""
    folder = choices.folder / "pictures"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        archive = choices.data_root / "clothing10.tar"
        if choices.smoke:
            sys.path.insert(0, str(HERE))
            import made_up

            archive = made_up.clothing(choices.folder)
        with tarfile.open(archive) as files:
            members = [one for one in files if one.isfile() and "test/" in one.name and one.name.endswith(".jpg")]
            for number, member in enumerate(members[:: max(1, len(members) // FILES)][:FILES]):
                (folder / f"{number:02d}.jpg").write_bytes(files.extractfile(member).read())
    return sorted(folder.iterdir())


def trained(choices: argparse.Namespace) -> Path:
    """Return a run of mobilenet_v2 on photographs of clothing, trained if this is the first time."""
    run = choices.folder / "run"
    if not run.is_dir():
        name, source = "torchvision:mobilenet_v2", choices.data_root / "clothing10.tar"
        words = [str(source), "--model", name, "--weights", str(choices.data_root / WEIGHTS)]
        if choices.smoke:
            words = ["digits", "--model", "mlp", "--epochs", "1"]
        subprocess.run([*FIRSTLIGHT, "train", *words, "--quiet", "--out", str(run)], check=True, stdout=sys.stderr)
    return run


FIRSTLIGHT = (sys.executable, "-m", "firstlight")


def serve_command(run: Path) -> list[str]:
    """Return the command that serves a run, without its port."""
    return [*FIRSTLIGHT, "serve", str(run)]


def peer_command(choices: argparse.Namespace) -> list[str]:
    """Return the command of another server, without its port."""
    script = HERE / "serving" / f"{'litserve_' if choices.side == 'litserve' else 'plain'}.py"
    weights = [] if choices.smoke else ["--weights", str(choices.data_root / WEIGHTS)]
    return [sys.executable, str(script), *weights]


@contextmanager
def server(command: Sequence[str], started: list[subprocess.Popen[bytes]] | None = None) -> Iterator[str]:
    """Run a server on a free port until the block is over; yield its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    if started is not None:
        started.append(process)
    try:
        until = time.monotonic() + SECONDS_TO_START
        while not answers(f"{url}/health/live"):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{' '.join(command)}: it does not answer")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def answers(url: str, timeout: float = 2.0) -> bool:
    """Return whether a page can be had."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status == 200
    except OSError:
        return False


def load(url: str, pictures: Sequence[Path], *, clients: int, seconds: float) -> dict[str, Any]:
    """Let some clients send pictures one after the other, and return what they saw."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed; it makes the load (Debian's package is called wrk)")
    words = ["--threads", "1", "--connections", str(clients), "--duration", f"{seconds:.0f}s", "--timeout", "30s"]
    script = ["--script", str(HERE / "serving" / "post.lua"), f"{url}/predict"]
    done = subprocess.run([wrk, *words, *script, *map(str, pictures)], capture_output=True, text=True, check=True)
    seen = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return {
        "requests_per_second": (seen["requests"] - seen["refused"]) / seen["seconds"],
        "p50_ms": seen["p50_ms"],
        "p99_ms": seen["p99_ms"],
        "refused": seen["refused"],
        "broken": seen["broken"],
    }


def bare(run: Path, pictures: Sequence[Path], count: int) -> dict[str, Any]:
    """Return what one caller sees who decodes and calls the model in this process, with the server's engine."""
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    from firstlight.runtime.processors import set_up_process

    set_up_process()
    from firstlight.delivery.engine import engine_for
    from firstlight.inference.predictor import Predictor
    from firstlight.models.model_file import load_model
    from firstlight.runs.folder import model_file

    model = load_model(model_file(run))
    predictor, files = Predictor(model, engine=engine_for(model, "onnx")), [one.read_bytes() for one in pictures]
    took = []
    for number in range(count + 10):
        started = time.perf_counter()
        predictor.predict(io.BytesIO(files[number % len(files)]).getvalue())
        took.append(1000 * (time.perf_counter() - started))
    took = took[10:]  # the first ones are slower
    p99 = quantiles(took, n=100)[-1]
    return {"side": "bare call at 1 client", "requests_per_second": 1000 / median(took), "p50_ms": median(took),
            "p99_ms": p99}  # fmt: skip


if __name__ == "__main__":
    main()
