"""Folders in the cache that are used only if every byte of them is the one that was written.

A digest of each block of each file is taken while the file is written, and compared when it is read. What is damaged,
missing, or of another kind is made again, with a note. That guards against accidents, such as a bad disk or a copy that
was cut off; somebody who can write to the cache can also write digests that fit.

Files are compared when they are opened. A large array can be compared while it is used: each block when a row in it is
first read.
"""

from firstlight.verified.files import VerifiedFolder, VerifiedWriter
from firstlight.verified.keeping import Kind, discard, found, kept, mark_as_used, remove_unused
from firstlight.verified.lines import read_line, write_line
from firstlight.verified.rows import CheckedRows

__all__ = [
    "CheckedRows",
    "Kind",
    "VerifiedFolder",
    "VerifiedWriter",
    "discard",
    "found",
    "kept",
    "mark_as_used",
    "read_line",
    "remove_unused",
    "write_line",
]
