"""Workers that crash, hang and swallow memory, beside workers that do not."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from firstlight.runtime.killable import KillablePool, KilledError, Limits

HERE = Path(__file__).parent
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and processes are listed on Linux only")
LIMITS = Limits(cpu_seconds=0.2, seconds=60, memory=200_000_000, answer=1_000_000)


@pytest.fixture(scope="module")
def work():
    """The function that workers run; they find its module on the path of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        import planted_work

        yield planted_work.work


@pytest.fixture(scope="module")
def pool(work):
    with KillablePool(work, 2, LIMITS) as pool:
        yield pool


def process_of(pool: KillablePool) -> int:
    return int(pool.run(b"state")[0])


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until_ended(processes: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(map(is_running, processes)):
        assert time.monotonic() < deadline, "still there"
        time.sleep(0.01)


@pytest.mark.parametrize("blocks", [(), (b"",), (b"one", b"", b"three" * 100_000)])
def test_blocks_of_bytes_come_back_as_they_went(pool, blocks):
    assert pool.run(b"echo", *blocks) == list(blocks)


@pytest.mark.parametrize(
    ("what", "by", "number"),
    [
        ("read null", "crash", signal.SIGSEGV),
        ("exit", "crash", 0),
        ("spin", "time", 0),
        pytest.param("allocate", "memory", 0, marks=LINUX),
        ("too much", "crash", 0),
    ],
)
def test_a_task_over_a_limit_says_which_and_the_next_one_is_served(pool, what, by, number):
    with pytest.raises(KilledError) as killed:
        pool.run(what.encode())
    assert (killed.value.by, killed.value.signal) == (by, number)
    assert pool.run(b"echo", b"next") == [b"next"]


def test_a_task_that_only_waits_ends_by_the_clock(work):
    with KillablePool(work, 1, Limits(seconds=0.1)) as pool:
        with pytest.raises(KilledError) as killed:
            pool.run(b"sleep")
        assert killed.value.by == "time"


def test_a_bug_in_the_work_is_told_and_costs_no_process(pool):
    before = process_of(pool)
    with pytest.raises(RuntimeError, match="ValueError: a bug"):
        pool.run(b"fail")
    assert process_of(pool) == before


def test_processor_time_is_counted_for_each_task_alone(work):
    with KillablePool(work, 1, Limits(cpu_seconds=0.05)) as pool:
        processes = {process_of(pool) for _ in range(400)}  # together they take more
        assert len(processes) == 1


def test_others_are_served_while_one_hangs(work):
    with KillablePool(work, 2) as pool:
        hanging = pool.submit(b"sleep")
        assert [pool.run(b"echo", b"%d" % number) for number in range(20)] == [[b"%d" % number] for number in range(20)]
        assert not hanging.done()
        pool.stop()
        with pytest.raises(RuntimeError, match="stopped"):
            hanging.result()


def test_quick_tasks_overtake_a_slow_one(work):
    with KillablePool(work, 1, patience=0.01) as pool:
        slow = pool.submit(b"sleep")
        assert [pool.run(b"echo", b"%d" % number) for number in range(5)] == [[b"%d" % number] for number in range(5)]
        assert not slow.done()


def test_a_slow_task_that_ends_well_is_answered_and_gives_its_place_back(work):
    with KillablePool(work, 1, patience=0) as pool:
        for number in range(5):
            assert pool.run(b"echo", b"%d" % number) == [b"%d" % number]
        with pytest.raises(RuntimeError, match="a bug"):
            pool.run(b"fail")
        slow = [pool.submit(b"sleep") for _ in range(2)]  # as many as there are places
        with pytest.raises(TimeoutError):
            pool.submit(b"echo").result(timeout=0.05)
        assert not any(future.done() for future in slow)


def test_a_worker_that_died_while_idle_is_replaced_and_its_task_is_not_blamed(work):
    with KillablePool(work, 1) as pool:
        first = process_of(pool)
        os.kill(first, signal.SIGKILL)
        assert process_of(pool) != first


@LINUX
def test_a_pool_whose_fork_server_was_killed_starts_another(work):
    with KillablePool(work, 1) as pool:
        worker = process_of(pool)
        server = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(server, signal.SIGKILL)
        wait_until_ended([worker])
        assert process_of(pool) != worker


@LINUX
def test_workers_import_little_and_run_one_thread(work, monkeypatch):
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):  # what measures tests imports more
        monkeypatch.delenv(name, raising=False)
    with KillablePool(work, 1, LIMITS) as pool:
        assert pool.run(b"state")[1] == b"1"
        names = set(pool.run(b"modules")[0].decode().split())
    assert not names & {"torch", "pytest", "numpy", "multiprocessing"}


@LINUX
def test_ctrl_c_and_sigterm_do_not_end_workers(pool):
    worker = process_of(pool)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(worker, number)
    assert process_of(pool) == worker


@LINUX
def test_stopping_leaves_no_process_and_refuses_what_comes_later(work):
    pool = KillablePool(work, 2)
    busy, waiting = [pool.submit(b"sleep") for _ in range(2)], [pool.submit(b"echo") for _ in range(20)]
    processes = children_of(os.getpid())
    pool.stop()
    wait_until_ended(sorted(processes - children_of(os.getpid())))
    for future in busy:
        assert future.cancelled() or isinstance(future.exception(), RuntimeError)
    assert all(future.cancelled() or future.exception() for future in waiting)
    with pytest.raises(RuntimeError):
        pool.run(b"echo")
    pool.stop()  # again does nothing


def children_of(process: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()}


@LINUX
@pytest.mark.parametrize("task", ["state", "sleep"])
def test_workers_end_with_a_program_that_is_killed(task):
    program = f"""
import sys, time; sys.path.insert(0, {str(HERE)!r})
from planted_work import work
from firstlight.runtime.killable import KillablePool
pool = KillablePool(work, 1)  # no guard against running this again in the worker
print(pool.run(b"state")[0].decode(), flush=True)
pool.submit({task.encode()!r})
time.sleep(600)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        worker = int(running.stdout.readline())
        server = children_of(running.pid)
        running.kill()
    wait_until_ended([worker, *server])


def test_many_threads_get_their_own_answers(pool):
    answers: dict[int, list[bytearray]] = {}

    def ask(number: int) -> None:
        answers[number] = pool.run(b"echo", b"%d" % number * 1000)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [b"%d" % number * 1000] for number in range(40)}


def test_coroutines_await_its_futures(pool):
    async def ask() -> list[list[bytearray]]:
        return await asyncio.gather(*(asyncio.wrap_future(pool.submit(b"echo", b"%d" % n)) for n in range(10)))

    assert asyncio.run(ask()) == [[b"%d" % number] for number in range(10)]


def test_work_that_cannot_be_imported_is_said_at_once(capfd):
    class Hidden:
        @staticmethod
        def work() -> list[bytes]:
            return []

    with KillablePool(Hidden.work, 1) as pool, pytest.raises(RuntimeError, match="cannot be started"):
        pool.start()
    assert "Error" in capfd.readouterr().err
