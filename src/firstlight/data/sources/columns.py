"""Find the columns of a table of images by the names that people give them, and read the words in their cells.

Lists (CSV, Parquet) and data frames share this.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from firstlight.data.formats import SUFFIXES
from firstlight.errors import DataError
from firstlight.escaping import escape_name

# Names of each column, of which the first that a table has is taken: a path before an id, and a name before a number.
IMAGE_NAMES = (
    "image image_path image_file image_filename image_name filepath path filename file img img_path img_file img_name "
    "picture photo images image_paths file_paths filepaths filenames image_id img_id image_index file_id id"
)
LABEL_NAMES = (
    "label class category target labels class_name class_label label_name category_name target_name y "
    "class_id label_id category_id class_idx class_index label_idx"
)
SPLIT_NAMES = "split"
GROUP_NAMES = "group"
# Names of columns whose words may say which images belong together. They are not used either.
NAMES_LIKE_GROUP = "groups group_id patient patient_id subject subject_id person person_id case_id lesion_id video_id"
# Names of columns that may say which split an image is in. They are not used, since they may mean something else.
NAMES_LIKE_SPLIT = (
    "set data_set dataset subset partition phase usage fold is_train is_test is_training train_test "
    "split_name data_split"
)

MAX_LISTED = 8  # column names in a message
MIN_PIXEL_COLUMNS = 16  # columns named like pixels from which on a table holds pixels
_NOTHING = ("nan", "NaN", "NaT", "<NA>")
_PIXEL = re.compile(r"(pixel|px|p)?\d+(x\d+)?")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table by what they hold, each by its heading in the table; None if there is none.

    Attributes:
        image: paths of images, or images.
        label: class names or numbers.
        split: train, valid or test.
        group: images with the same word stay in one split.
        notes: which other column may have been meant by the labels.
    """

    image: str
    label: str
    split: str | None
    group: str | None
    notes: tuple[str, ...]


def find_columns(
    headings: Sequence[str], where: str, *, image_column: str | None = None, label_column: str | None = None
) -> Columns:
    """Return the columns of a table by their headings; `ClassId`, `class id` and `class_id` are the same name.

    Args:
        headings: the names of all columns.
        where: the table, for messages.
        image_column: the heading of the images, if the user names it.
        label_column: the heading of the labels, if the user names it.

    Raises:
        DataError: if there is no column of images or of labels, or there are two with the same heading.
    """
    images = _used(headings, where, "image_column", IMAGE_NAMES, image_column)
    labels = _used(headings, where, "label_column", LABEL_NAMES, label_column)
    splits, groups = _candidates(headings, SPLIT_NAMES), _candidates(headings, GROUP_NAMES)
    notes: tuple[str, ...] = ()
    if len(labels) > 1:  # a wrong column of images would show: it names no files
        notes = (f"the column {labels[0]} was used, not {', '.join(labels[1:])}; `label_column` chooses another",)
    notes += _not_used([name for name in headings if name != labels[0]], splits, groups)
    columns = Columns(images[0], labels[0], next(iter(splits), None), next(iter(groups), None), notes)
    _refuse_repeated(headings, (columns.image, columns.label, columns.split, columns.group), where)
    return columns


def find_image_column(headings: Sequence[str], where: str) -> str:
    """Return the heading of the images in a table that needs no other column.

    Raises:
        DataError: if there is none, or there are two with that heading.
    """
    found = _used(headings, where, "image_column", IMAGE_NAMES, None)[0]
    _refuse_repeated(headings, (found,), where)
    return found


def label_word(cell: Any) -> str:
    """Return a cell as the name of a class; empty if nothing is in it (None, NaN, NaT or NA). Whole floats are 0, 1, 2.

    >>> label_word(2.0), label_word(" cat "), label_word(float("nan")), label_word(True)
    ('2', 'cat', '', 'True')
    """
    if cell is None or str(cell) in _NOTHING:
        return ""
    try:
        if not isinstance(cell, str | bool) and cell == int(cell):
            return str(int(cell))
    except (TypeError, ValueError, OverflowError):  # a date, an infinity
        pass
    return str(cell).strip()


def listed(headings: Sequence[str]) -> str:
    """Return some headings and the number of the others, for a message."""
    shown = ", ".join(escape_name(name, 40) for name in headings[:MAX_LISTED])
    more = len(headings) - MAX_LISTED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _candidates(headings: Sequence[str], names: str) -> list[str]:
    """Return the headings that are among the names, which spaces separate, in their order."""
    order = {_key(name): position for position, name in enumerate(names.split())}
    return sorted((name for name in dict.fromkeys(headings) if _key(name) in order), key=lambda name: order[_key(name)])


def _used(headings: Sequence[str], where: str, choice: str, names: str, value: str | None) -> list[str]:
    """Return the heading that the user named, ignoring case and punctuation; otherwise the usual ones."""
    if value is None:
        if not (found := _candidates(headings, names)):
            raise DataError(_missing(headings, where, choice))
        return found
    alike = [name for name in headings if name == value] or [name for name in headings if _key(name) == _key(value)]
    if not alike:
        raise DataError(f"{where} has no such column (found: {listed(headings)})", field=choice, value=value)
    return alike[:1]


def _not_used(headings: Sequence[str], splits: Sequence[str], groups: Sequence[str]) -> tuple[str, ...]:
    """Return notes on columns that may say the split or the group of each image, if no other column does."""
    notes: tuple[str, ...] = ()
    if like_split := [] if splits else _candidates(headings, NAMES_LIKE_SPLIT):
        notes += (
            f"the column {escape_name(like_split[0], 40)} was not used; if it says which pictures are for training, "
            "call it split and write train, valid or test",
        )
    if like_group := [] if groups else _candidates(headings, NAMES_LIKE_GROUP):
        notes += (
            f"the column {escape_name(like_group[0], 40)} was not used; call it group to keep pictures with the same "
            "value in one split",
        )
    return notes


def _key(name: str) -> str:
    """Return a name without case, spaces, and punctuation; unchanged if nothing would be left."""
    return re.sub(r"[\W_]+", "", name.casefold()) or name


def _missing(headings: Sequence[str], where: str, choice: str) -> str:
    pixels = sum(_PIXEL.fullmatch(_key(name)) is not None for name in headings)
    if choice == "image_column" and (pixels >= MIN_PIXEL_COLUMNS or "pixels" in map(_key, headings)):
        return (
            f"{where} holds pixels, not paths of pictures (found: {listed(headings)}); make an array [N, H, W] of them "
            "in Python, and give fl.train the pair (images, labels)"
        )
    if any(name[name.rfind(".") :].lower() in SUFFIXES for name in headings):
        return (
            f"{where} has no column names: it begins with {listed(headings)}; add a first line with them, "
            "such as image,label"
        )
    what, example = ("picture files", "image") if choice == "image_column" else ("labels", "label")
    return f"{where} has no column of {what} (found: {listed(headings)}); rename one {example}, or set `{choice}`"


def _refuse_repeated(headings: Sequence[str], used: Sequence[str | None], where: str) -> None:
    for name, count in Counter(headings).items():
        if count > 1 and name in used:
            raise DataError(f"{where} has the column {escape_name(name, 40)} {count} times; keep one")
