"""Random numbers for each sample that depend only on (seed, epoch, sample, purpose).

A generator with a state gives each sample whatever comes next, so its numbers change with the order, the batch size,
the number of workers and every interruption. Here a number is a hash of (seed, epoch, sample, purpose): the numbers of
a sample can be computed at any time, in any batch, on any device, and are the same bits.

The mixing function is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", 2014).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from firstlight.runtime.seeds import derive_seed


@dataclass(frozen=True)
class SampleRandom:
    """Random numbers for the samples `rows` (int64 [B]) in one epoch; every purpose has its own.

    All arithmetic is on 64-bit integers until the last step, so the bits are the same on every device.
    """

    rows: Tensor
    seed: int
    epoch: int

    def uniform(self, purpose: str) -> Tensor:
        """Return float32 [B] in [0, 1): multiples of 2^-24, each of them a float32 without rounding."""
        return self._bits(purpose).to(torch.float32) * 2.0**-24

    def chance(self, purpose: str, probability: float) -> Tensor:
        """Return bool [B], true with this probability (0 is never, 1 is always)."""
        return self.uniform(purpose) < probability

    def whole(self, purpose: str, count: int | Tensor) -> Tensor:
        """Return int64 [B] from 0 to `count` - 1; `count` is a number or int64 [B], from 1 to 2^24."""
        return (self._bits(purpose) * count) >> 24

    def pick(self, purpose: str, table: Tensor) -> Tensor:
        """Return entries of `table` [n, ...], each equally likely: [B, ...].

        Note: with a table, a distribution that is not uniform has the same bits everywhere. Functions such as `sin` and
        `exp` differ in their last bit between devices, and even between positions in a batch.
        """
        return table[self.whole(purpose, len(table))]

    def words(self, purpose: str) -> Tensor:
        """Return 64 random bits for each sample, int64 [B]."""
        key = derive_seed(self.seed, "dice", self.epoch, purpose)
        return _mix(self.rows * _INCREMENT + key)

    def _bits(self, purpose: str) -> Tensor:
        """Return 24 random bits for each sample, int64 [B]."""
        return _shift_right(self.words(purpose), 40)


def _signed(word: int) -> int:
    """Return the int64 with the bits of this unsigned 64-bit word."""
    return word - (1 << 64) if word >> 63 else word


_INCREMENT = _signed(0x9E3779B97F4A7C15)
_FACTOR_1 = _signed(0xBF58476D1CE4E5B9)
_FACTOR_2 = _signed(0x94D049BB133111EB)


def _shift_right(words: Tensor, places: int) -> Tensor:
    # Torch shifts copies of the sign in; the mask replaces them by zeros.
    return (words >> places) & ((1 << (64 - places)) - 1)


def _mix(words: Tensor) -> Tensor:
    """Return mixed 64-bit words: every input bit changes about half of the output bits. Products wrap around."""
    words = (words ^ _shift_right(words, 30)) * _FACTOR_1
    words = (words ^ _shift_right(words, 27)) * _FACTOR_2
    return words ^ _shift_right(words, 31)
