"""Real processes, without PyTorch, get real signals."""

import signal
import subprocess
import sys
import threading

import pytest

from firstlight.runtime import signals

BEGIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # it may be ignored where tests run
HEARING = (
    BEGIN
    + "import os, sys, time\n"
    + "from firstlight.runtime import signals\n"
    + "from firstlight.runtime.signals import importing, leave, receive_signals, tell_interrupted, working\n"
    + "signals.SAME_SECONDS, signals.STUCK_SECONDS = 0, 0.2\n"
    + "send = lambda number: os.kill(os.getpid(), number)\n"
    + "receive_signals()\n"
)
LINE = "firstlight: interrupted\n"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def ran(program, before=HEARING):
    command = [sys.executable, "-c", before + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("sent", CODES, ids=lambda number: number.name)
def test_before_anything_is_begun_a_signal_ends_the_process_with_one_line(sent):
    assert ran(f"send({int(sent)}); print('went on')") == (CODES[sent], "", LINE)


def test_while_a_library_is_imported_a_signal_is_no_exception_that_it_could_swallow():
    program = """
with working():
    try:
        with importing():
            send(15)
    except BaseException:
        pass
print("went on")
leave(0)
"""
    assert ran(program) == (143, "", LINE)


def test_work_is_unwound_and_says_what_it_saved_once():
    program = """
try:
    with working():
        try:
            send(15)
        finally:
            print("unwound")
except KeyboardInterrupt:
    tell_interrupted("firstlight: interrupted; saved")
leave(0)
"""
    assert ran(program) == (143, "unwound\n", "firstlight: interrupted; saved\n")


def test_an_interrupt_that_is_swallowed_still_shows_in_the_exit_code():
    program = """
with working():
    try:
        send(2)
    except KeyboardInterrupt:
        pass
leave(0)
"""
    assert ran(program) == (130, "", LINE)


def test_an_interrupt_in_a_finalizer_is_raised_again_after_it():
    program = """
class Finalized:
    def __del__(self):
        send(2)

try:
    with working():
        Finalized()
        time.sleep(30)
        print("lost")
except KeyboardInterrupt:
    print("raised")
leave(0)
"""
    assert ran(program) == (130, "raised\n", LINE)


def test_a_second_signal_ends_the_process_though_it_unwinds_for_ever():
    program = """
with working():
    try:
        send(2)
    except KeyboardInterrupt:
        send(15)
        print("went on")
"""
    assert ran(program) == (143, "", LINE)


def test_a_second_signal_ends_code_that_never_comes_back_to_python():
    program = """
import ctypes, threading
def twice():
    time.sleep(0.1); send(15); time.sleep(0.1); send(15)
threading.Thread(target=twice, daemon=True).start()
with working():
    while True:
        ctypes.CDLL(None).sleep(30)  # not interrupted: the other thread gets the signals
"""
    mask = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    unmasked = program.replace("def twice():\n", "def twice():\n    signal.pthread_sigmask(signal.SIG_UNBLOCK, [15])\n")
    assert ran(mask + unmasked) == (143, "", LINE)


def test_a_copy_of_a_signal_is_no_second_one():
    program = """
signals.SAME_SECONDS = 60
with working():
    try:
        send(2)
    except KeyboardInterrupt:
        send(2)
        print("unwound")
leave(0)
"""
    assert ran(program) == (130, "unwound\n", LINE)


def test_a_signal_while_the_end_is_prepared_is_heard_and_what_is_registered_is_done():
    assert ran("import atexit; atexit.register(lambda: (send(15), print('removed'))); leave(0)") == (
        143,
        "removed\n",
        LINE,
    )


def test_a_signal_that_is_ignored_as_by_nohup_stays_so():
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + HEARING
    assert ran("send(1); print('went on'); leave(0)", before) == (0, "went on\n", "")


def test_without_it_a_signal_ends_the_process_without_a_word():
    """The control: what the other tests see is what `receive_signals` does."""
    assert ran(f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})", BEGIN) == (-signal.SIGTERM, "", "")


def test_signals_are_received_where_no_thread_can_be_started(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(signals.signal, "set_wakeup_fd", lambda *_, **__: None)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    heard = {}
    monkeypatch.setattr(signals.signal, "signal", heard.__setitem__)
    signals.receive_signals()
    assert {signal.SIGINT, signal.SIGTERM} <= set(heard)
