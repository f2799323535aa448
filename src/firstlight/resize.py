"""The ways to resize an image to a network's size: their names, and which part of an image each of them shows.

Shared by data, models, recipes, and figures.
"""

import re
from typing import NamedTuple

from firstlight.errors import RecipeError

RESIZE_METHODS = ("crop", "pad", "squash")
RESIZE_PATTERN = re.compile(r"pad|squash|crop(?::(1(?:\.0{1,6})?|0\.(?!0+$)[0-9]{1,6}))?")


def parse_resize(resize: str) -> tuple[str, float]:
    """Return the method, one of `RESIZE_METHODS`, and the fraction of the crop that is kept.

    The fraction is a decimal above 0 and up to 1, as in `crop:0.875`, which is what weights made for the middle 224 of
    256 pixels expect. `crop` is `crop:1`.

    Raises:
        RecipeError: if it is none of `crop`, `crop:FRACTION`, `pad` and `squash`.
    """
    if (found := RESIZE_PATTERN.fullmatch(resize)) is None:
        raise RecipeError(
            f"choose {', '.join(RESIZE_METHODS)}, or crop:0.875 to keep that fraction of the crop (above 0, up to 1)",
            field="resize",
            value=resize,
        )
    return resize.partition(":")[0], float(found[1] or 1)


class Part(NamedTuple):
    """A part of an image, in its pixels; it may reach beyond the image."""

    top: int
    left: int
    height: int
    width: int


def seen_part(height: int, width: int, input_size: tuple[int, int, int], resize: str) -> Part:
    """Return the part of an image that a network sees: what `crop` keeps, or with `pad` the image and its bars.

    Args:
        height: of the image, in pixels.
        width: of the image.
        input_size: the network's (C, H, W).
        resize: see `parse_resize`.

    Raises:
        RecipeError: if there is no such `resize`.
    """
    method, fraction = parse_resize(resize)
    _, network_height, network_width = input_size
    if method == "squash":
        return Part(0, 0, height, width)
    nearer = min if method == "crop" else max
    step = nearer(width / network_width, height / network_height) * fraction
    kept_height, kept_width = max(1, round(network_height * step)), max(1, round(network_width * step))
    return Part((height - kept_height) // 2, (width - kept_width) // 2, kept_height, kept_width)
