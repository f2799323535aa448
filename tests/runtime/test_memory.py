"""Memory is what a container allows, and freed memory stays where malloc can be told."""

import os
import resource
import subprocess
import sys

import pytest

from firstlight.runtime import memory


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/box/inner\n", {"box/inner/memory.max": "max\n", "box/memory.max": "1000\n"}, 1000),
        ("0::/\n", {"memory.max": "2000\n"}, 2000),
        ("5:memory:/box\n4:cpu:/box\n", {"memory/box/memory.limit_in_bytes": "3000\n"}, 3000),
        ("5:memory:/box\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("nonsense\n", {}, None),
    ],
)
def test_memory_is_what_the_container_allows(tmp_path, monkeypatch, own, limits, expected):
    (tmp_path / "own").write_text(own)
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "own")
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.physical_memory() == (expected or installed)


def test_memory_that_is_left_is_what_this_process_has_not_taken_for_itself(tmp_path, monkeypatch):
    page = os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(memory, "physical_memory", lambda: 1000 * page)
    monkeypatch.setattr(memory, "OWN_MEMORY", tmp_path / "statm")
    assert memory.memory_left() == 1000 * page  # nobody says
    for statm, left in (("5000 400 100 7 0 900 0", 700), ("5000 2000 100 7 0 900 0", 0), ("nonsense", 1000)):
        (tmp_path / "statm").write_text(statm)
        assert memory.memory_left() == left * page


def test_limits_of_ulimit_count_what_is_reserved(tmp_path, monkeypatch):
    page, gigabyte = os.sysconf("SC_PAGE_SIZE"), 1 << 30
    (tmp_path / "statm").write_text("5000 400 100 7 0 900 0")
    monkeypatch.setattr(memory, "OWN_MEMORY", tmp_path / "statm")
    limits = {resource.RLIMIT_AS: gigabyte, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(memory.resource, "getrlimit", lambda kind: (limits[kind], resource.RLIM_INFINITY))
    assert memory.physical_memory() <= gigabyte
    assert memory.memory_left() == gigabyte - 5000 * page, "of addresses"
    limits[resource.RLIMIT_DATA] = 1000 * page
    assert memory.memory_left() == 100 * page, "of data"


@pytest.mark.skipif(not memory.OWN_MEMORY.exists(), reason="only Linux tells what a process takes")
def test_what_is_taken_is_no_longer_left():
    script = """
from firstlight.runtime.memory import memory_left
before = memory_left()
taken = b"1" * (200 << 20)
print(before - memory_left())
"""  # a process that does nothing else: one that runs tests gives memory back at moments of its own
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(said) == pytest.approx(200 << 20, rel=0.1)


def test_a_process_of_our_own_keeps_no_memory_where_there_is_little(monkeypatch):
    monkeypatch.setattr(memory, "physical_memory", lambda: memory.MIN_BYTES_TO_KEEP_FREED_MEMORY - 1)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: pytest.fail("malloc was told to keep it"))
    memory.keep_freed_memory()


def test_a_process_of_our_own_keeps_its_memory_where_malloc_is_gnus(monkeypatch):
    told = []
    monkeypatch.setattr(memory, "physical_memory", lambda: memory.MIN_BYTES_TO_KEEP_FREED_MEMORY)

    class Library:
        def __init__(self, name):
            assert name is None

        def mallopt(self, parameter, value):
            told.append((parameter, value))

    monkeypatch.setattr(memory.ctypes, "CDLL", Library)
    memory.keep_freed_memory()
    assert told == [(-4, 0), (-1, -1)]
    del Library.mallopt
    memory.keep_freed_memory()
    assert len(told) == 2
