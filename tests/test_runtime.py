"""The dice are pinned, nobody else's dice are touched, and a device that is not there is refused in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firstlight import runtime
from firstlight.errors import RecipeError
from firstlight.runtime import autocast, default_workers, derive_seed, generator, pick_device, pick_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0,), 4_761_921_975_702_974_394),
        ((0, "order", 1), 7_770_329_341_107_549_510),
        ((1, "order", 1), 2_502_268_315_207_963_875),
        ((7, "split", os.fsdecode(b"\xff.jpg")), 2_621_979_036_015_893_863),
    ],
)
def test_seeds_are_pinned_since_a_change_would_change_every_run(arguments, expected):
    assert derive_seed(*arguments) == expected


@given(st.integers(), st.lists(st.text() | st.integers(), max_size=3))
def test_seeds_fit_every_generator(seed, purpose):
    assert 0 <= derive_seed(seed, *purpose) < 2**63
    assert derive_seed(seed, *purpose) == derive_seed(seed, *purpose)


def test_different_purposes_have_different_seeds():
    seeds = {derive_seed(seed, word, number) for seed in range(10) for word in "abcde" for number in range(100)}
    assert len(seeds) == 5000
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")


def test_generators_repeat_themselves_and_leave_the_global_one_alone():
    before = torch.get_rng_state()
    first, again, other = (torch.rand(8, generator=generator(seed, "test")) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_auto_is_a_device_that_works():
    assert torch.zeros(1, device=pick_device("auto")).item() == 0
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["", "gpu", "tpu", "cuda:first", "cpu:-1", "CPU", "cuda:1:2"])
def test_an_unknown_device_is_refused_with_the_choices(name):
    with pytest.raises(RecipeError, match="no such device; choose auto, cpu, cuda") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cuda:4096", "cpu:1", "mps:1"])
def test_a_device_that_this_machine_lacks_is_refused(name):
    with pytest.raises(RecipeError, match=f"--device {name}: this machine has none"):
        pick_device(name)


def test_devices_are_chosen_in_order_of_speed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device() == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device() == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device() == CPU


def test_workers_are_the_processors_that_may_be_used():
    assert 1 <= default_workers() <= os.cpu_count()


@pytest.mark.parametrize(
    ("capabilities", "gains"),
    [
        ({"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),
        ({"avx512_f": True}, False),
        ({}, False),
    ],
)
def test_bfloat16_is_taken_unasked_only_on_processors_that_gain(capabilities, gains, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert pick_dtype(CPU) == (torch.bfloat16 if gains else torch.float32)
    assert pick_dtype(CPU, "float32") == torch.float32
    assert pick_dtype(CPU, "bfloat16") == torch.bfloat16


def test_autocast_is_on_only_for_another_type_than_float32():
    matrix = torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with autocast(CPU, dtype):
            assert (matrix @ matrix).dtype == dtype


def test_compiling_without_a_compiler_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(runtime.shutil, "which", lambda _name: None)
    with pytest.raises(RecipeError, match="install g"):
        runtime.require_compiler()


@pytest.fixture
def load(tmp_path, monkeypatch) -> Path:
    """A machine of four processors of which we may use three; write how much runs on it."""
    monkeypatch.setattr(runtime.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(runtime, "default_workers", lambda: 3)
    monkeypatch.setattr(runtime, "RUNNING_NOW", tmp_path / "loadavg")
    monkeypatch.delitem(sys.modules, "torch")  # as if it were not imported yet
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "gone in a moment, so that what is set is forgotten afterwards")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    return tmp_path / "loadavg"


@pytest.mark.parametrize(("told", "others"), [("1/90", False), ("2/90", False), ("3/90", True), ("?", False)])
def test_others_are_working_where_more_runs_than_we_leave_processors(load, told, others):
    load.write_text(f"0.52 0.40 0.20 {told} 4711\n")
    assert runtime.others_are_working() is others
    runtime.share_processors()
    assert ("GOMP_SPINCOUNT" in os.environ) is others


def test_nobody_is_working_where_the_system_does_not_say(load):
    assert not runtime.others_are_working()


def test_somebody_who_is_done_at_once_does_not_count(load, monkeypatch):
    load.write_text("0.52 0.40 0.20 9/90 4711\n")
    monkeypatch.setattr(runtime.time, "sleep", lambda _: load.write_text("0.52 0.40 0.20 1/90 4711\n"))
    assert not runtime.others_are_working()


def test_a_users_own_choice_stays(load, monkeypatch):
    load.write_text("0.52 0.40 0.20 9/90 4711\n")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    runtime.share_processors()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    runtime.share_processors()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_once_torch_is_there_nothing_is_set(load, monkeypatch):
    load.write_text("0.52 0.40 0.20 9/90 4711\n")
    monkeypatch.setitem(sys.modules, "torch", torch)
    runtime.share_processors()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.skipif(not runtime.RUNNING_NOW.exists(), reason="only Linux tells what runs")
def test_a_busy_machine_is_seen():
    burn = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(burn) for _ in range(os.cpu_count() or 1)]
    try:
        assert any(runtime.others_are_working() for _ in range(100))
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.parametrize("use", ["firstlight.Recipe", "__import__('firstlight.cli').cli.main(['check', 'nowhere'])"])
def test_threads_are_told_before_torch_is_there(use, tmp_path):
    (tmp_path / "loadavg").write_text("9 9 9 99999/99999 1\n")
    code = (
        "import firstlight, firstlight.runtime, os, pathlib, sys\n"
        f"firstlight.runtime.RUNNING_NOW = pathlib.Path({str(tmp_path / 'loadavg')!r})\n"
        f"{use}; assert 'torch' not in sys.modules; print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert told.stdout.split()[-1] == runtime.SPINS


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
    monkeypatch.setattr(runtime, "CGROUPS", tmp_path)
    monkeypatch.setattr(runtime, "OWN_CGROUPS", tmp_path / "own")
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert runtime.physical_memory() == (expected or installed)


def test_memory_that_is_left_is_what_this_process_has_not_taken_for_itself(tmp_path, monkeypatch):
    page = os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(runtime, "physical_memory", lambda: 1000 * page)
    monkeypatch.setattr(runtime, "OWN_MEMORY", tmp_path / "statm")
    assert runtime.memory_left() == 1000 * page  # nobody says
    for statm, left in (("5000 400 100 7 0 900 0", 700), ("5000 2000 100 7 0 900 0", 0), ("nonsense", 1000)):
        (tmp_path / "statm").write_text(statm)
        assert runtime.memory_left() == left * page


@pytest.mark.skipif(not runtime.OWN_MEMORY.exists(), reason="only Linux tells what a process takes")
def test_what_is_taken_is_no_longer_left():
    script = """
from firstlight.runtime import memory_left
before = memory_left()
taken = b"1" * (200 << 20)
print(before - memory_left())
"""  # a process that does nothing else: one that runs tests gives memory back at moments of its own
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(said) == pytest.approx(200 << 20, rel=0.1)


def test_a_process_of_our_own_keeps_no_memory_where_there_is_little(monkeypatch):
    monkeypatch.setattr(runtime, "physical_memory", lambda: runtime.PLENTY - 1)
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda _: pytest.fail("malloc was told to keep it"))
    runtime.own_process()


def test_a_process_of_our_own_keeps_its_memory_where_malloc_is_gnus(monkeypatch):
    told = []
    monkeypatch.setattr(runtime, "physical_memory", lambda: runtime.PLENTY)

    class Library:
        def __init__(self, name):
            assert name is None

        def mallopt(self, parameter, value):
            told.append((parameter, value))

    monkeypatch.setattr(runtime.ctypes, "CDLL", Library)
    runtime.own_process()
    assert told == [(-4, 0), (-1, -1)]
    del Library.mallopt
    runtime.own_process()
    assert len(told) == 2
