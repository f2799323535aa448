"""Random numbers that depend on the sample, and on nothing else.

A generator with a state gives each sample whatever happens to come next, so its numbers change with the order,
the batch size, the number of workers and every pause. Here a number is a hash of (seed, epoch, sample, purpose): any
sample's numbers can be had at any time, in any company, on any device, and are the same bits.

The mixing function is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", 2014).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from firstlight.runtime.seeds import derive_seed


@dataclass(frozen=True)
class SampleRandom:
    """The dice of the samples `rows` (int64 [B]) in one epoch; every purpose has throws of its own.

    All arithmetic is on 64-bit integers until the last step, hence the same bits on every device.
    """

    rows: Tensor
    seed: int
    epoch: int

    def uniform(self, purpose: str) -> Tensor:
        """Throw float32 [B] in [0, 1): multiples of 2^-24, each of them a float32 without rounding."""
        return self._bits(purpose).to(torch.float32) * 2.0**-24

    def chance(self, purpose: str, probability: float) -> Tensor:
        """Throw bool [B], true with this probability (0 is never, 1 is always)."""
        return self.uniform(purpose) < probability

    def whole(self, purpose: str, count: int | Tensor) -> Tensor:
        """Throw int64 [B] from 0 to `count` - 1; `count` is a number or int64 [B], from 1 to 2^24."""
        return (self._bits(purpose) * count) >> 24

    def pick(self, purpose: str, table: Tensor) -> Tensor:
        """Throw entries of `table` [n, ...], each equally likely: [B, ...].

        Note: a table is how a skewed distribution stays the same bits everywhere. Functions such as `sin` and `exp`
        differ in their last bit between devices, and even between places in one batch.
        """
        return table[self.whole(purpose, len(table))]

    def _bits(self, purpose: str) -> Tensor:
        """Throw 24 random bits a sample, int64 [B]."""
        key = derive_seed(self.seed, "dice", self.epoch, purpose)
        return _shift_right(_mix(self.rows * _GOLDEN + key), 40)


def _signed(word: int) -> int:
    """Give the int64 with the bits of this unsigned 64-bit word."""
    return word - (1 << 64) if word >> 63 else word


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift_right(words: Tensor, places: int) -> Tensor:
    # Torch shifts int64 with the sign; the mask lets zeros in instead.
    return (words >> places) & ((1 << (64 - places)) - 1)


def _mix(words: Tensor) -> Tensor:
    """Scramble 64-bit words so that every bit in changes half of the bits out; products wrap around."""
    words = (words ^ _shift_right(words, 30)) * _FIRST
    words = (words ^ _shift_right(words, 27)) * _SECOND
    return words ^ _shift_right(words, 31)
