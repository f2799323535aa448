"""How an image may be fitted to a network: the words for it, which data, models and recipes all understand."""

import re

from firstlight.errors import RecipeError

RESIZE_METHODS = ("crop", "pad", "squash")
RESIZE_PATTERN = re.compile(r"pad|squash|crop(?::(1(?:\.0{1,6})?|0\.(?!0+$)[0-9]{1,6}))?")


def parse_resize(resize: str) -> tuple[str, float]:
    """Read `crop`, `pad`, `squash` or `crop:SHARE`: which of the `FITS` it is, and the share of the cut that is kept.

    The share is a decimal above 0 and up to 1, such as `crop:0.875`, which is what weights made for the middle 224 of
    256 pixels expect; `crop` is `crop:1`.

    Raises:
        RecipeError: if there is no such `fit`.
    """
    if (found := RESIZE_PATTERN.fullmatch(resize)) is None:
        raise RecipeError(
            f"--resize {resize}: there is no such way to resize a picture; choose {', '.join(RESIZE_METHODS)}, "
            f"or crop:0.875 for so much of the crop (above 0, up to 1)"
        )
    return resize.partition(":")[0], float(found[1] or 1)
