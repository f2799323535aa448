"""Small image files that take minutes or gigabytes to decode: what firstlight makes of each.

    python benchmarks/bombs.py

`bombs()` yields more than a hundred of them, of some seventy kinds, each at several sizes. Run alone, this decodes each
in a process of its own, as packing does, and prints a JSON line: its bytes, the seconds until it was decoded or
refused, the seconds of processor time and the peak of memory of the largest process (less those for a picture of one
pixel), and the reason if it was refused. With `--folder`, the files are kept there, for `firstlight check`.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bomb_parts import jpeg, others, png, tiff

Maker = Callable[[], bytes]


def makers() -> dict[str, Maker]:
    """Return a maker for each bomb, by its name; nothing is made yet."""
    kinds = {**jpeg.KINDS, **png.KINDS, **tiff.KINDS, **others.KINDS}
    return {f"{kind} {size:,}": partial(make, size) for kind, (make, sizes) in kinds.items() for size in sizes}


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each bomb."""
    for name, make in makers().items():
        yield name, make()


def decoded(file: Path) -> dict[str, object]:
    """Decode a file as packing does, and return the seconds that it took and what came of it."""
    from firstlight.data import isolation
    from firstlight.data.plain import is_plain
    from firstlight.errors import ImageError

    data, reason = file.read_bytes(), ""
    started = time.monotonic()
    try:
        isolation.decode_safely(data, input_size=(3, 224, 224))
    except ImageError as error:
        reason = str(error)
    return {"plain": is_plain(data), "seconds": round(time.monotonic() - started, 3), "refused": reason}


def in_a_process(work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Return what a function returns in another process, with the processor time and the memory of all below it."""
    with tempfile.NamedTemporaryFile() as answer:
        if not (process := os.fork()):
            try:
                from firstlight.data import isolation

                Path(answer.name).write_text(json.dumps(work()), "utf-8")
                for pool in isolation._ours().pools.values():
                    if pool is not None:
                        pool.stop()
            finally:
                os._exit(0)
        _, _, usage = os.wait4(process, 0)
        found = json.loads(answer.read())
        return found | {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


def made(make: Maker, file: Path) -> dict[str, object]:
    """Write a bomb; done in another process, the memory for it is not counted."""
    file.write_bytes(make())
    return {"bytes": file.stat().st_size}


def main() -> None:
    """Decode each bomb and print a row for it, and at the end how many took long."""
    parser = argparse.ArgumentParser(description="Time firstlight on files that are made to take long.")
    parser.add_argument("--only", default="", help="bombs with this in their names")
    parser.add_argument("--folder", type=Path, help="keep the files here, in two classes")
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        import firstlight.data.isolation  # noqa: F401 - before the processes are forked

        small = Path(temporary, "small.gif")
        made(partial(others.gif, 1, 1), small)
        least = in_a_process(partial(decoded, small))
        for number, (name, make) in enumerate(makers().items()):
            if chosen.only not in name:
                continue
            file = Path(chosen.folder or temporary, f"class{number % 2}", f"{number}.{name.split(',')[0]}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            row = {"bomb": name, **in_a_process(partial(made, make, file))} | in_a_process(partial(decoded, file))
            row |= {key: round(max(0, row[key] - least[key]), 2) for key in ("cpu_seconds", "peak_mb")}  # type: ignore[operator]
            rows.append(row)
            print(json.dumps(row), flush=True)
            if not chosen.folder:
                file.unlink()
    spent = [float(str(row["cpu_seconds"])) for row in rows]
    most = max((float(str(row["peak_mb"])) for row in rows), default=0)
    counted = {f"over_{limit}_s": sum(seconds > limit for seconds in spent) for limit in (1, 2, 5)}
    print(json.dumps({"part": "bombs", "tried": len(rows), **counted, "peak_mb": most}))


if __name__ == "__main__":
    main()
