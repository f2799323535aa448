"""A batcher never waits for a batch to fill, and whatever queues meanwhile is the next batch."""

import threading
from concurrent.futures import wait

import pytest

from firstlight.delivery.serve.batcher import Batcher


class Work:
    """Doubles numbers; the first batch waits until it is let go."""

    def __init__(self):
        self.batches = []
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self, jobs):
        self.batches.append(list(jobs))
        self.began.set()
        assert self.go.wait(30)
        return [job * 2 for job in jobs]


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def batcher(work):
    made = Batcher(work, most=3)
    yield made
    work.go.set()
    made.close()


def test_a_lone_job_begins_at_once_and_those_that_come_meanwhile_are_one_batch(work, batcher):
    first = batcher.submit(1)
    assert work.began.wait(30), "nothing else was submitted, and it began"
    others = [batcher.submit(number) for number in (2, 3, 4, 5)]
    work.go.set()
    assert [one.result(30) for one in (first, *others)] == [2, 4, 6, 8, 10]
    assert work.batches == [[1], [2, 3, 4], [5]]


def test_a_canceled_job_that_has_not_begun_is_dropped(work, batcher):
    first = batcher.submit(1)
    assert work.began.wait(30)
    dropped, kept = batcher.submit(2), batcher.submit(3)
    assert dropped.cancel()
    assert not first.cancel(), "it has begun"
    work.go.set()
    assert kept.result(30) == 6
    assert work.batches == [[1], [3]]


def test_a_mistake_in_one_batch_is_told_to_whoever_waits_and_the_next_batch_goes_on():
    def fail_for_zero(jobs):
        return [1 // job for job in jobs]

    batcher = Batcher(fail_for_zero, most=1)
    bad, good = batcher.submit(0), batcher.submit(1)
    with pytest.raises(ZeroDivisionError):
        bad.result(30)
    assert good.result(30) == 1
    batcher.close()


def test_closing_finishes_what_waits(work):
    batcher = Batcher(work, most=8)
    jobs = [batcher.submit(number) for number in range(5)]
    work.go.set()
    batcher.close()
    assert not wait(jobs, 0).not_done
