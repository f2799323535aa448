"""The white of images of more than 8 bits, and the limit of pixels, which are kept with the model.

White is chosen by the brightest image of a set. The type of the pixels says too little: cameras, radiographs and
thermal images keep 10, 12 or 14 bits in 16.

>>> White.of(integers=4000)
White(integers=4095, floats=None)
>>> White.of(integers=119), White.of(integers=40_000), White.of(floats=0.7)
(White(integers=255, floats=None), White(integers=65535, floats=None), White(integers=None, floats=1.0))
"""

import math
from dataclasses import dataclass

MAX_PIXELS = 50_000_000  # of an image file that is decoded, if nobody chooses another limit
FULL_WHITE = 65535  # of 16 bits; larger values have no known white
DARK = 1 / 8  # floats of 0..1 of which none is above this are spread
OVERSHOOT = 0.5 / 255  # resizing a 0..1 image exceeds 1 by less than this


@dataclass(frozen=True, slots=True)
class White:
    """The values that become 255. None: what the type, or the one image, suggests.

    Attributes:
        integers: of images with integers of more than 8 bits, 2^bits - 1, from 255 to 65535.
        floats: of images with floats: a power of two up to 1, or 255 to 65535.
    """

    integers: int | None = None
    floats: float | None = None

    @classmethod
    def of(cls, *, integers: float = 0, floats: float = 0) -> "White":
        """Return the white of a set by its brightest values; 0 if there are none of that kind, or all are black."""
        return cls(
            integers=_full(integers) if 0 < integers <= FULL_WHITE else None,
            floats=_float_white(floats) if 0 < floats <= FULL_WHITE else None,
        )

    def with_room_for(self, other: "White") -> "White":
        """Return the brighter of the two, for each kind."""
        return White(
            max(self.integers or 0, other.integers or 0) or None, max(self.floats or 0, other.floats or 0) or None
        )


TYPES_WHITE = White()


def _full(value: float) -> int:
    return int(2 ** max(8, math.ceil(math.log2(value + 1)))) - 1


def _float_white(value: float) -> float:
    if value <= DARK:
        return float(2.0 ** math.ceil(math.log2(value)))
    return 1.0 if value <= 1 + OVERSHOOT else float(_full(value))
