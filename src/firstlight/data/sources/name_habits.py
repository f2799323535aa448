"""Suggest a `label_from` for files that are named after their classes, as `cat.001.jpg` is."""

import re
from collections import Counter
from collections.abc import Sequence

# How names that hold a class are often built: a pattern whose first group is the class, and what the whole name without
# its extension must look like for the pattern to be suggested.
_HABITS = (
    (r"^([a-z]+)", r"[a-z]+[^A-Za-z]*"),  # cat.001
    (r"^([A-Za-z]+)", r"[A-Za-z]+[^A-Za-z]*"),  # Cat001
    (r"^(.+)[._ -]\d+", r".*[A-Za-z].*[._ -]\d+"),  # great_pyrenees_173
    (r"([A-Za-z]+)\.\w+$", r"[^A-Za-z]*[A-Za-z]+"),  # 001_cat
    (r"^([^._ -]+)[._ -]", r"[^._ -]+[._ -].+"),  # 7_00012, n02085620_7
)
_CAMERA_WORDS = {"dsc", "dscn", "frame", "image", "img", "photo", "pic", "picture", "pxl", "screenshot"}
_MIN_PER_CLASS = 3  # images of each suggested class, on average
_MOST_LOOKED_AT = 2000  # names
_NEARLY_ALL = 0.95  # of the names must look like a habit


def suggest_label_from(names: Sequence[str]) -> tuple[str, str] | None:
    """Return an expression for `label_from` that suits these names, and one of them; None if none seems to.

    >>> suggest_label_from([f"{word}.{n}.jpg" for word in ("cat", "dog") for n in range(9)])
    ('^([a-z]+)', 'cat.0.jpg')
    """
    files = [name.rpartition("/")[2] for name in names[:: max(1, len(names) // _MOST_LOOKED_AT)]]
    for pattern, whole in _HABITS:
        alike = [file for file in files if re.fullmatch(whole, file.rpartition(".")[0])]
        if len(alike) < _NEARLY_ALL * len(files):
            continue
        classes = Counter(found[1] for file in alike if (found := re.search(pattern, file)))
        if (
            1 < len(classes) <= len(alike) / _MIN_PER_CLASS
            and not {word.casefold() for word in classes} <= _CAMERA_WORDS
        ):
            return pattern, alike[0]
    return None
