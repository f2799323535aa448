"""The loader: the right images, in an order that (seed, epoch) decides, whether read from memory or from disk."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from firstlight.data import loader as module
from firstlight.data.loader import Loader

CPU = torch.device("cpu")
TASKS = Path("/proc/self/task")
DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]


@pytest.fixture(params=["in memory", "read ahead"])
def way(request, monkeypatch):
    """Both ways a batch comes about; the second as for a set that is larger than memory."""
    if request.param == "read ahead":
        monkeypatch.setattr(module, "HOST_RESIDENT_BYTES", 0)
        monkeypatch.setattr(module, "RESIDENT_FRACTION", 0)
    return request.param


@pytest.fixture(scope="module")
def store(digits, tmp_path_factory):
    """Real digits as the store keeps them, memory-mapped, in two colors so that channels differ."""
    images, labels = digits
    path = tmp_path_factory.mktemp("store") / "pixels.npy"
    np.save(path, np.stack([images, 255 - images, images // 2], axis=-1))
    return np.load(path, mmap_mode="r"), labels


ROWS = np.flatnonzero(np.arange(1797) % 3 != 1)


def build(store, **choices):
    pixels, labels = store
    return Loader(pixels, labels, ROWS, **{"batch_size": 64, "device": CPU, "seed": 5} | choices)


def rows_of(loader, epoch=0, start=0):
    return torch.cat([batch.rows for batch in loader.epoch(epoch, start)])


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_pixels_labels_and_rows_belong_together(device, way, store):
    pixels, labels = store
    loader = build(store, device=device)
    assert (loader.resident is None) == (way == "read ahead")
    for batch in loader.epoch(3):
        rows = batch.rows.cpu().numpy()
        assert np.array_equal(batch.images.cpu().permute(0, 2, 3, 1).numpy(), pixels[rows])
        assert np.array_equal(batch.labels.cpu().numpy(), labels[rows])
        assert batch.images.device.type == batch.labels.device.type == batch.rows.device.type == device.type


def test_batches_are_uint8_and_channels_last(way, store):
    batch = next(build(store).epoch())
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (64, 3, 8, 8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.dtype == batch.rows.dtype == torch.int64


def test_a_set_is_kept_in_memory_if_it_takes_less_than_a_quarter_of_what_is_left(store, monkeypatch):
    needed = len(ROWS) * 8 * 8 * 3
    for left, kept in ((4 * needed, False), (4 * needed + 4, True)):
        monkeypatch.setattr(module, "memory_left", lambda left=left: left)
        assert (build(store).resident is not None) is kept


def test_reading_from_disk_gives_the_bits_that_memory_gives(store, monkeypatch):
    resident = list(build(store).epoch(2))
    monkeypatch.setattr(module, "HOST_RESIDENT_BYTES", 0)
    read = list(build(store).epoch(2))
    assert len(resident) == len(read)
    for one, other in zip(resident, read, strict=True):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("images", "labels", "rows"))
        assert one.images.stride() == other.images.stride()


def test_every_epoch_is_another_permutation_and_the_same_one_again(way, store):
    loader, again, other = build(store), build(store), build(store, seed=6)
    first = rows_of(loader, 1)
    assert torch.equal(first.sort().values, torch.from_numpy(ROWS))
    assert torch.equal(first, rows_of(again, 1))
    assert not torch.equal(first, rows_of(loader, 2))
    assert not torch.equal(first, rows_of(other, 1))


def test_the_order_is_the_same_for_every_batch_size(store):
    assert torch.equal(rows_of(build(store), 1), rows_of(build(store, batch_size=7), 1))


@pytest.mark.parametrize("start", [0, 1, 7, 19, 100])
def test_seeking_is_skipping(start, way, store):
    loader = build(store)
    skipped = list(loader.epoch(4))[start:]
    sought = list(loader.epoch(4, start))
    assert len(sought) == len(skipped) == max(0, len(loader) - start)
    for one, other in zip(sought, skipped, strict=True):
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.images, other.images)


def test_without_a_seed_rows_come_in_their_order(way, store):
    assert torch.equal(rows_of(build(store, seed=None), 9), torch.from_numpy(ROWS))


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, {100, 98}), (True, {100})])
def test_a_last_batch_that_is_not_full_is_given_or_dropped(drop_last, sizes, way, store):
    loader = build(store, batch_size=100, drop_last=drop_last)
    batches = list(loader.epoch())
    assert len(batches) == len(loader)
    assert {len(batch.labels) for batch in batches} == sizes


def test_fewer_rows_than_a_batch_are_a_small_batch_or_none(way, store):
    assert [len(batch.labels) for batch in build(store, batch_size=5000).epoch()] == [len(ROWS)]
    assert list(build(store, batch_size=5000, drop_last=True).epoch()) == []


def test_balanced_sampling_makes_rare_classes_as_frequent_as_the_others(store):
    pixels, labels = store
    rows = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:9], np.flatnonzero(labels == 7)])
    loader = Loader(pixels, labels, rows, batch_size=50, device=CPU, seed=0, balanced=True)
    counts = sum(torch.bincount(batch.labels, minlength=10) for epoch in range(40) for batch in loader.epoch(epoch))
    drawn = counts[[0, 1, 7]] / counts.sum()
    assert torch.allclose(drawn, torch.tensor(1 / 3), atol=0.02)
    assert torch.equal(loader.order(1), loader.order(1))
    assert not torch.equal(loader.order(1), loader.order(2))


def test_an_abandoned_epoch_leaves_no_thread_behind(store, monkeypatch):
    monkeypatch.setattr(module, "HOST_RESIDENT_BYTES", 0)
    read, readers = Loader._read, set()

    def watched(*arguments):
        readers.add(threading.current_thread())
        return read(*arguments)

    monkeypatch.setattr(Loader, "_read", watched)
    batches = build(store).epoch()
    next(batches)
    (reader,) = readers
    assert reader is not threading.current_thread()
    batches.close()
    assert not reader.is_alive()


@pytest.mark.skipif(not TASKS.exists(), reason="only Linux tells the threads of a process")
def test_reading_ahead_takes_one_thread_and_no_more(store, monkeypatch):
    monkeypatch.setattr(module, "HOST_RESIDENT_BYTES", 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        torch.ones(1 << 20).sum()  # torch's own threads, which this thread has anyway
        before = set(TASKS.iterdir())  # by number, since others may end meanwhile
        batches = build(store, batch_size=1000).epoch()  # so large that torch would use all its threads to read one
        next(batches)
        assert len(set(TASKS.iterdir()) - before) == 1
        batches.close()
    finally:
        torch.set_num_threads(threads)


def test_the_global_generator_is_left_alone(way, store):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    rows_of(build(store))
    rows_of(build(store, balanced=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("side", "expected"), [(8, 500), (64, 500), (224, 83), (4096, 1)])
def test_fewer_large_images_are_scored_at_once(side, expected):
    pixels = np.broadcast_to(np.uint8(0), (1000, side, side, 3))
    loader = Loader(pixels, np.zeros(1000, np.int64), np.arange(2), device=CPU)
    assert loader.batch_size == expected


@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("choices", [{}, {"balanced": True}, {"drop_last": True}], ids=str)
def test_shares_of_a_batch_are_that_batch_whatever_the_number_of_processes(choices, mixing, way, store):
    whole = list(build(store, **choices).epoch(2, start=3))
    for size in (2, 3):
        shares = [
            list(build(store, sharing=module.Sharing(rank, size, mixing), **choices).epoch(2, start=3))
            for rank in range(size)
        ]
        for number, batch in enumerate(whole):
            parts = [share[number] for share in shares]
            assert max(part.whole.size for part in parts) - min(part.whole.size for part in parts) <= 1
            for name in ("images", "labels", "rows"):
                own = [getattr(part, name)[: part.whole.size] for part in parts]
                assert torch.equal(torch.cat(own), getattr(batch, name))
            for part in parts:
                assert torch.equal(part.whole.rows, batch.rows)
                assert torch.equal(part.whole.labels, batch.labels)
                first, count = part.whole.first, part.whole.size
                assert torch.equal(part.rows[:count], batch.rows[first : first + count])
                following = batch.rows.roll(-1)[first : first + count][-1:]
                assert torch.equal(part.rows[count:], following if mixing else following[:0])
