"""Load labeled images from anywhere they are kept: names, folders, archives, lists, arrays."""

from firstlight.data.sources.load import load_data
from firstlight.data.sources.named_sets import NAMED_SETS

__all__ = ["NAMED_SETS", "load_data"]
