"""Sources: any place where labeled images are kept, as one type."""

from firstlight.data.sources.load import load_data
from firstlight.data.sources.named_sets import NAMED_SETS

__all__ = ["NAMED_SETS", "load_data"]
