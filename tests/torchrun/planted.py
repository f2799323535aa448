"""`firstlight` with a planted accident: at a step of training, in one rank, before torchrun has started anything anew.

Usage: planted.py ACCIDENT RANK STEP WORDS..., where the accident is `kill`, `term`, `fail` or `nan`.
"""

import os
import signal
import sys

from firstlight.__main__ import main
from firstlight.errors import DataError
from firstlight.runtime.distributed import launched
from firstlight.training import recorder


def plant(accident: str, rank: int, step: int) -> None:
    """Let something happen in one rank after so many steps of training."""
    here, beaten, steps = launched(), recorder.beaten, 0
    if here.rank != rank or os.environ["TORCHELASTIC_RESTART_COUNT"] != "0":
        return

    def happens(*given, **more):
        nonlocal steps
        steps += 1
        if steps == step:
            if accident == "fail":
                raise DataError("a file that only this process cannot read")
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}[accident])
        return beaten(*given, **more)

    recorder.beaten = happens


accident, rank, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
del sys.argv[1:4]
plant(accident, rank, step)
main()
