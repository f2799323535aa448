"""A process that stops once the program that has started it has ended."""

import os
import signal
import subprocess
import sys

import pytest

CHILD_AND_PARENT = """
import os, signal
from firstlight.runtime.parent import stopping_with_parent

if os.fork():
    os.write(1, b"%d\\n" % os.getpid())
    signal.pause()
signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), os._exit(0)))
with stopping_with_parent():
    os.write(1, b"ready\\n")
    signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's prctl")
def test_a_process_is_told_by_sigterm_that_its_parent_was_killed():
    with subprocess.Popen([sys.executable, "-c", CHILD_AND_PARENT], stdout=subprocess.PIPE, text=True) as parent:
        said = {parent.stdout.readline(), parent.stdout.readline()}
        assert said == {f"{parent.pid}\n", "ready\n"}
        os.kill(parent.pid, signal.SIGKILL)
        assert parent.stdout.read() == "told\n"
