"""Signals at random moments in the lives of commands, and whether the benchmark that sends more of them can fail."""

import importlib.util
import signal
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "signals.py"


@pytest.fixture(scope="module")
def benchmark_of_signals():
    spec = importlib.util.spec_from_file_location("benchmark_of_signals", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.usefixtures("hears_interrupts")
def test_ten_signals_at_random_moments_are_heard(benchmark_of_signals):
    tried, failed = benchmark_of_signals.signals(10, only=["check"])
    assert (tried, failed) == (10, 0)


@pytest.mark.parametrize(
    ("code", "told", "expected"),
    [
        (130, "firstlight: interrupted\n", ""),
        (0, "", ""),  # all was done before the signal came
        (0, "firstlight: interrupted\n", "exit code 0"),
        (1, "firstlight: interrupted\n", "exit code 1"),
        (143, "firstlight: interrupted\n", "exit code 143"),
        (-2, "", "exit code -2"),
        (130, "", "not one line"),
        (130, "firstlight: interrupted\nfirstlight: interrupted\n", "not one line"),
        (130, "Traceback (most recent call last):\nfirstlight: interrupted\n", "Traceback"),
        (130, "Exception ignored in: <x>\nfirstlight: interrupted\n", "Exception ignored"),
        (-6, "terminate called without an active exception\n", "terminate called"),
    ],
)
def test_the_benchmark_sees_what_is_wrong(benchmark_of_signals, code, told, expected):
    command = benchmark_of_signals.Command("check", [])
    found = benchmark_of_signals.fault(command, code, signal.SIGINT, told)
    assert found.startswith(expected) if expected else found == ""
