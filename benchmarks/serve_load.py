"""Does `firstlight serve` stand overload, slow clients, and many requests?

    python benchmarks/serve_load.py --data-root ../shared/data --folder /tmp/serve

Prints one JSON line for each: 256 clients for a minute against the peak of 32; 8 clients beside 200 connections that
send a byte a second; and 20,000 requests with the memory of the server and its decoders read all along. Another client
asks for `/health/live` all the while.
"""

import argparse
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import linear_regression, quantiles
from typing import Any

from memory import resident
from serve import load, photographs, serve_command, server, trained

SLOW = 200  # connections that send a byte a second
REQUESTS = 20_000
EVERY = 0.25  # seconds between two looks at memory and health


def main() -> None:
    """Measure and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", type=Path, required=True, help="where the trained run and the pictures are kept")
    parser.add_argument("--smoke", action="store_true", help="a small network, a few clients, two seconds each")
    choices = parser.parse_args()
    pictures, run = photographs(choices), trained(choices)
    seconds = 2 if choices.smoke else 20
    started: list[subprocess.Popen[bytes]] = []
    with server(serve_command(run), started) as url:
        process = started[0].pid
        load(url, pictures, clients=4, seconds=2)
        peak = load(url, pictures, clients=32, seconds=seconds)["requests_per_second"]

        def measured(side: str, made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            with watching(url, process) as seen:
                row = made()
            row |= {"side": side, "goodput_over_peak": row["requests_per_second"] / peak, **seen}
            print(json.dumps(row), flush=True)
            return row

        clients = 40 if choices.smoke else 256
        measured("overload", lambda: load(url, pictures, clients=clients, seconds=3 * seconds))
        with ExitStack() as held:
            held.enter_context(slow_sockets(url, 20 if choices.smoke else SLOW))
            measured("slow sockets", lambda: load(url, pictures, clients=8, seconds=seconds))
        rate = load(url, pictures, clients=8, seconds=2)["requests_per_second"]
        needed = 2 if choices.smoke else REQUESTS / rate
        measured(f"{needed * rate:,.0f} requests", lambda: load(url, pictures, clients=8, seconds=needed))


@contextmanager
def watching(url: str, process: int) -> Iterator[dict[str, float]]:
    """Within the block, look at the server's memory and health; the dictionary that is yielded is filled afterwards."""
    seen: dict[str, float] = {}
    times, sizes, waits, over = [], [], [], threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            started = time.perf_counter()
            with urllib.request.urlopen(f"{url}/health/live", timeout=30) as answer:
                answer.read()
            waits.append(1000 * (time.perf_counter() - started))
            times.append(started)
            sizes.append(sum(map(resident, family(process))) / 2**20)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
        half = len(times) // 2  # memory is warm in the second half
        slope = linear_regression(times[half:], sizes[half:]).slope if len(times) - half > 2 else 0.0
        seen |= {
            "health_p99_ms": quantiles(waits, n=100)[-1] if len(waits) > 1 else 0.0,
            "first_mb": sizes[0] if sizes else 0.0,
            "last_mb": sizes[-1] if sizes else 0.0,
            "growth_mb_per_hour": 3600 * slope,
        }


def family(process: int) -> list[int]:
    """Return a process and everything that it has started, directly or not."""
    found = [process]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


@contextmanager
def slow_sockets(url: str, count: int) -> Iterator[None]:
    """Hold connections open that send their header a byte a second, and open each again when the server ends it."""
    host, port = url.removeprefix("http://").split(":")
    over = threading.Event()
    header = f"POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: image/jpeg\r\nX-Filler: ".encode()

    def dribble() -> None:
        while not over.is_set():
            try:
                with socket.create_connection((host, int(port)), timeout=5) as connection:
                    for byte in header + b"x" * 600:
                        connection.send(bytes([byte]))
                        if over.wait(1):
                            return
            except OSError:
                over.wait(1)

    threads = [threading.Thread(target=dribble, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(10)


if __name__ == "__main__":
    main()
