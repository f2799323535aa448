"""Duplicates: images that are the same image, so that no split can put copies on both sides."""

from firstlight.data.duplicates.fingerprints import FINGERPRINT, fingerprint, fingerprints
from firstlight.data.duplicates.groups import Duplicates, find_duplicates, group_ids, is_faint, told_apart

__all__ = [
    "FINGERPRINT",
    "Duplicates",
    "find_duplicates",
    "fingerprint",
    "fingerprints",
    "group_ids",
    "is_faint",
    "told_apart",
]
