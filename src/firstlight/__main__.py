"""The command `firstlight`, also as `python -m firstlight`: it hears signals before anything large is imported."""

import os
import sys
import time
from typing import NoReturn

from firstlight.runtime.signals import last_words, leave, receive_signals, tell_nothing

LEADER_SECONDS = 3.0  # in which rank 0 tells what is wrong; torchrun ends it as soon as another one has ended
REPORT = (
    "firstlight: this is a bug in firstlight, not a mistake of yours; please report it with the lines above, the "
    "command, and the versions of firstlight and Python"
)


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code: 1 with a traceback if the mistake is ours."""
    open_streams()
    receive_signals()
    from firstlight.runtime.distributed import launched

    if not (leads := launched().is_leader):
        tell_nothing()
    last_words(b'{"error": "interrupted"}\n' if leads and "--json" in sys.argv else b"")
    from firstlight.cli import main as run

    try:
        code = run()
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.stderr.write(REPORT + "\n")
        code = 1
    if code in (1, 2) and not leads:
        time.sleep(LEADER_SECONDS)
    leave(code)


def open_streams() -> None:
    """Connect standard streams that are closed to nothing, so that no file gets their numbers, and their words."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or os.fdopen(number, mode, encoding="utf-8")
        for number, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )


if __name__ == "__main__":
    main()
