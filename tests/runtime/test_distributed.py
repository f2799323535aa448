"""What processes that train together tell each other, here as threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tests.worlds import in_ranks

from firstlight.runtime.distributed import World, launched, own_name, world
from firstlight.runtime.joining import joining
from firstlight.runtime.rendezvous import meet

LAUNCHED = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "1",
}


def test_one_process_alone_gets_back_what_it_gives():
    alone = world()
    one = torch.tensor([1.0])
    assert alone == World()
    assert alone.is_leader
    assert alone.sum(one) is one
    assert alone.gather(one) == [one]
    assert (alone.gather_json(5), alone.from_leader(5), alone.bytes_from_leader(b"5")) == ([5], 5, b"5")
    assert alone.any(True)
    beat = alone.heartbeat()
    assert beat.beat(15) == (15, False)
    assert beat.clock() <= beat.clock()


def test_the_environment_of_torchrun_is_read(monkeypatch):
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert launched() == World(3, 4, 1, 2)
    assert own_name() == "torchrun ... -m firstlight"
    monkeypatch.delenv("MASTER_ADDR")
    assert launched() == World()
    assert own_name() == "firstlight"


def test_nobody_is_waited_for_in_a_world_of_one(monkeypatch):
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joining() as joined:
        assert joined is world()
        assert joined == World(0, 1, 1, 2)


def test_tensors_are_added_and_gathered():
    def work(mine):
        total = mine.sum(torch.tensor([mine.rank, 10]))
        parts = mine.gather(torch.full((mine.rank, 2), mine.rank))
        nothing = mine.gather(torch.zeros(0, 3))
        return total.tolist(), [part.tolist() for part in parts], [part.shape for part in nothing]

    for total, parts, nothing in in_ranks(3, work):
        assert total == [3, 30]
        assert parts == [[], [[1, 1]], [[2, 2], [2, 2]]]
        assert nothing == [(0, 3)] * 3


def test_messages_reach_everybody():
    def work(mine):
        mine.barrier()
        assert mine.any(mine.rank == 1)
        assert not mine.any(False)
        assert mine.gather_json({"rank": "x" * mine.rank}) == [{"rank": ""}, {"rank": "x"}]
        assert mine.from_leader({"é": mine.rank}) == {"é": 0}
        assert mine.bytes_from_leader(b"" if mine.is_leader else None) == b""
        assert mine.bytes_from_leader(None) is None
        return mine.bytes_from_leader(b"abc" if mine.is_leader else None)

    assert in_ranks(2, work) == [b"abc", b"abc"]


def test_who_is_told_to_stop_stops_one_beat_later_and_so_do_all():
    def work(mine):
        beat = mine.heartbeat()
        clocks = [beat.clock()]
        stops = []
        for step in range(4):
            stops.append(beat.beat(15 if (mine.rank, step) == (1, 2) else 0, save=(mine.rank, step) == (0, 1)))
            clocks.append(beat.clock())
        return stops, clocks

    (stops, clocks), others = in_ranks(2, work)
    assert (stops, clocks) == others
    assert stops == [(0, False), (0, False), (0, True), (15, False)]
    assert clocks == sorted(clocks)


def test_an_error_of_one_rank_is_raised_in_these_tests():
    def work(mine):
        if mine.rank == 1:
            raise ValueError("its own mistake")
        return mine.rank

    with pytest.raises(ValueError, match="its own"):
        in_ranks(2, work)


def test_processes_that_are_started_anew_meet_each_other_and_not_the_dead():
    from torch.distributed import HashStore

    store = HashStore()
    for size, starts in ((2, 1), (3, 2), (2, 3)):
        with ThreadPoolExecutor(size) as threads:
            met = list(threads.map(lambda rank, size=size: meet(store, rank, size), range(size)))
        assert {one.starts for one in met} == {starts}
        met[0].store.set("key", b"value")
        assert all(one.store.get("key") == b"value" for one in met)
