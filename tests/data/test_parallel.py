"""Threads that give results in order, a few items ahead and no more."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.data.parallel import chunks_of, in_order

WORKERS = 3


def test_results_come_in_the_order_of_the_items_however_long_each_takes():
    def work(item):
        time.sleep(0.002 * (item % 5 == 0))
        return item * item

    assert list(in_order(work, range(50), WORKERS)) == [item * item for item in range(50)]


def test_the_work_is_done_by_several_threads_at_once():
    together = threading.Barrier(WORKERS, timeout=60)  # breaks unless all arrive
    assert list(in_order(lambda _: together.wait() >= 0, range(WORKERS), WORKERS)) == [True] * WORKERS


def test_few_items_are_in_flight_even_from_an_endless_source():
    read = []

    def endless():
        while True:
            read.append(None)
            yield len(read)

    results = in_order(lambda item: item, endless(), WORKERS)
    for taken in range(1, 40):
        assert next(results) == taken
        assert len(read) - taken <= 2 * WORKERS
    results.close()


@pytest.mark.parametrize("most", [4 * WORKERS, 100])
def test_one_item_that_takes_long_does_not_stop_the_others(most):
    """They go on until as many as may wait are done, or all."""
    done, enough = [], threading.Event()
    others = min(most, 50) - 1

    def work(item):
        if item == 0:
            assert enough.wait(60)
        else:
            done.append(item)
            if len(done) == others:
                enough.set()
        return item

    results = in_order(work, range(50), WORKERS, most)
    assert next(results) == 0
    assert sorted(done) == list(range(1, others + 1))
    assert list(results) == list(range(1, 50))


def test_the_first_failure_stops_the_rest():
    done = []

    def work(item):
        if item == 5:
            raise ValueError("item 5")
        done.append(item)
        return item

    given_back = []
    with pytest.raises(ValueError, match="item 5"):
        given_back.extend(in_order(work, range(10_000), WORKERS))
    assert max(done) < 5 + 2 * WORKERS + 1


def test_an_abandoned_iterator_leaves_no_thread_behind():
    workers = set()  # those that worked, whatever other threads come and go meanwhile
    results = in_order(lambda _: workers.add(threading.current_thread()), range(100), WORKERS)
    next(results)
    assert workers
    results.close()
    assert not any(worker.is_alive() for worker in workers)


def test_what_has_not_begun_when_the_rest_is_not_wanted_never_begins(monkeypatch):
    begun, gate = [], threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def open_and_shut_down(pool, *arguments, **options):
        gate.set()  # once all is canceled, and before the threads that are at work are waited for
        shutdown(pool, *arguments, **options)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", open_and_shut_down)

    def work(item):
        begun.append(item)
        assert item == 0 or gate.wait(60)

    results = in_order(work, range(100), WORKERS)
    next(results)
    results.close()
    assert max(begun) <= WORKERS


@given(items=st.lists(st.integers(), max_size=30), size=st.integers(1, 8))
def test_chunks_are_full_but_for_the_last_and_lose_nothing(items, size):
    chunks = list(chunks_of(size, items))
    assert [item for chunk in chunks for item in chunk] == items
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(chunks)
