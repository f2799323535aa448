"""Random numbers of samples: the right distribution, and the same bits for the same key."""

import numpy as np
import pytest
import torch
from scipy import stats

from firstlight.data.randomness import SampleRandom
from firstlight.runtime.seeds import derive_seed

MANY = torch.arange(100_000)


def splitmix64(word: int) -> int:
    """The published finalizer on Python's unbounded integers: the oracle of the wrapping torch arithmetic."""
    mask = (1 << 64) - 1
    word &= mask
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
    return word ^ (word >> 31)


def test_the_oracle_is_the_published_generator():
    golden = 0x9E3779B97F4A7C15
    assert splitmix64(1234567 + golden) == 6457827717110365317  # first output for seed 1234567 (Rosetta Code)
    assert splitmix64(1234567 + 2 * golden) == 3203168211198807973


def test_every_number_is_the_top_24_bits_of_splitmix64():
    rows = torch.tensor([0, 1, 2, 59_999, 2**31, 2**40 + 7])
    key = derive_seed(3, "dice", 5, "flip")
    expected = [(splitmix64(row * 0x9E3779B97F4A7C15 + key) >> 40) / 2**24 for row in rows.tolist()]
    drawn = SampleRandom(rows, seed=3, epoch=5).uniform("flip")
    assert drawn.dtype == torch.float32
    assert drawn.tolist() == expected


def test_numbers_are_uniform_in_every_epoch_and_purpose():
    p_values = [
        stats.kstest(SampleRandom(MANY, seed, epoch).uniform(purpose).double().numpy(), "uniform").pvalue
        for seed in (0, 1)
        for epoch in range(5)
        for purpose in ("flip", "shift across", "crop area")
    ]
    assert min(p_values) > 0.001 / len(p_values)  # Bonferroni: a good generator fails once in a thousand
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_numbers_stay_below_one_and_reach_both_ends():
    drawn = SampleRandom(torch.arange(2_000_000), seed=0, epoch=0).uniform("any")
    assert 0 <= drawn.min() < 1e-5
    assert 1 - 1e-5 < drawn.max() < 1


def test_samples_epochs_seeds_and_purposes_are_uncorrelated():
    drawn = {
        (seed, epoch, purpose): SampleRandom(MANY, seed, epoch).uniform(purpose).double().numpy()
        for seed in (0, 1)
        for epoch in (0, 1)
        for purpose in ("flip", "rotate")
    }
    table = np.corrcoef(np.stack(list(drawn.values())))
    off_diagonal = table[~np.eye(len(table), dtype=bool)]
    limit = 5 / np.sqrt(len(MANY))
    assert np.abs(off_diagonal).max() < limit
    for values in drawn.values():
        for lag in (1, 2, 10, 256):
            assert abs(np.corrcoef(values[:-lag], values[lag:])[0, 1]) < limit


def test_pairs_of_numbers_fill_the_square_evenly():
    rng = SampleRandom(MANY, seed=7, epoch=2)
    counts, _, _ = np.histogram2d(rng.uniform("x").numpy(), rng.uniform("y").numpy(), bins=16, range=[[0, 1]] * 2)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-4


def test_every_bit_of_the_row_changes_half_of_the_bits_drawn():
    rows = torch.arange(2000) * 7919
    bits = SampleRandom(rows, seed=0, epoch=0)._bits("any")
    for bit in range(32):
        changed = bits ^ SampleRandom(rows ^ (1 << bit), seed=0, epoch=0)._bits("any")
        fraction = np.mean([int(word).bit_count() / 24 for word in changed])
        assert abs(fraction - 0.5) < 0.02


@pytest.mark.parametrize("count", [1, 2, 3, 9, 224, 2**24])
def test_whole_numbers_are_even_and_in_range(count):
    drawn = SampleRandom(MANY, seed=1, epoch=0).whole("any", count)
    assert drawn.min() >= 0
    assert drawn.max() < count
    if 1 < count <= 224:
        assert stats.chisquare(np.bincount(drawn.numpy(), minlength=count)).pvalue > 1e-4


def test_whole_numbers_take_a_count_for_each_sample():
    counts = torch.tensor([1, 5, 9]).repeat(1000)
    drawn = SampleRandom(torch.arange(3000), seed=0, epoch=0).whole("any", counts)
    assert (drawn < counts).all()
    assert [int(drawn[k::3].max()) for k in range(3)] == [0, 4, 8]


def test_chance_is_never_always_or_as_often_as_said():
    rng = SampleRandom(MANY, seed=0, epoch=0)
    assert not rng.chance("any", 0).any()
    assert rng.chance("any", 1).all()
    hits = int(rng.chance("any", 0.3).sum())
    assert stats.binomtest(hits, len(MANY), 0.3).pvalue > 1e-4


def test_neither_order_nor_company_nor_global_generators_matter():
    rows = torch.arange(1000)
    alone = SampleRandom(rows, seed=0, epoch=4).uniform("flip")
    torch.manual_seed(99)
    state = torch.get_rng_state()
    shuffled = torch.randperm(1000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(SampleRandom(rows[shuffled], seed=0, epoch=4).uniform("flip"), alone[shuffled])
    assert torch.equal(SampleRandom(rows[17:18], seed=0, epoch=4).uniform("flip"), alone[17:18])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to compare with")
def test_a_gpu_draws_the_same_bits():
    on_cpu = SampleRandom(MANY, seed=0, epoch=0)
    on_gpu = SampleRandom(MANY.cuda(), seed=0, epoch=0)
    assert torch.equal(on_gpu.uniform("any").cpu(), on_cpu.uniform("any"))
    assert torch.equal(on_gpu.whole("any", 224).cpu(), on_cpu.whole("any", 224))
