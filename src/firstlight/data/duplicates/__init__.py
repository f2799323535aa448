"""Find exact and near copies of images, so that they end up in the same split."""

from firstlight.data.duplicates.fingerprints import FINGERPRINT, fingerprint, fingerprints
from firstlight.data.duplicates.groups import (
    Duplicates,
    find_duplicates,
    group_ids,
    is_nearly_plain,
    separate_exact_copies,
)

__all__ = [
    "FINGERPRINT",
    "Duplicates",
    "find_duplicates",
    "fingerprint",
    "fingerprints",
    "group_ids",
    "is_nearly_plain",
    "separate_exact_copies",
]
