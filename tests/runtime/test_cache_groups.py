"""Of the processes that see the same cache, one writes; those that have their own write too."""

import pytest
from tests.worlds import in_ranks

from firstlight.runtime import cache_groups
from firstlight.runtime.cache_groups import cache_writer, written_once


@pytest.fixture
def cache_of_pairs(tmp_path, monkeypatch):
    """Let ranks 0 and 2 see one cache, and rank 1 another."""

    def own(name):
        place = tmp_path / str(cache_groups.world().rank % 2) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    monkeypatch.setattr(cache_groups, "writable_in_cache", own)
    return tmp_path


def test_the_first_process_of_each_cache_writes(cache_of_pairs):
    assert in_ranks(3, lambda _mine: cache_writer()) == [0, 1, 0]
    assert not [file for file in cache_of_pairs.rglob("*") if file.is_file()]


def test_the_others_come_after_it(cache_of_pairs):
    order = []

    def work(mine):
        with written_once():
            order.append(mine.rank)

    in_ranks(3, work)
    assert order.index(2) > max(order.index(0), order.index(1))


def test_one_process_alone_touches_no_cache(monkeypatch):
    monkeypatch.setattr(cache_groups, "writable_in_cache", None)
    with written_once():
        assert cache_writer() == 0
