"""The names of the ways to resize an image to a network's size, shared by data, models, and recipes."""

import re

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
