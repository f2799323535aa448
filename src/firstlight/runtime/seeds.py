"""Random seeds, each derived from the run's seed and from what it is used for.

Torch is imported where it is used: hashing a name does not wait for it.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and its purpose alone.

    Different purposes have unrelated seeds; the same purpose has the same seed on every machine.
    """
    text = "\0".join(str(part) for part in (seed, *purpose))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *purpose: str | int) -> "torch.Generator":
    """Return a CPU generator seeded by `derive_seed`; no global generator is touched."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *purpose))
