"""The choices about data: which images are used, at what size, and how they are split.

>>> DataRecipe(img_size=32, split="80/10/10").resize is None
True
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, Self

from firstlight.choices import check_choices, did_you_mean
from firstlight.errors import RecipeError
from firstlight.resize import parse_resize

DATA_RANGES: dict[str, tuple[float, float]] = {"img_size": (1, 4096), "max_pixels": (1, 2**31), "workers": (1, 1024)}


@dataclass(frozen=True, kw_only=True)
class SourceRecipe:
    """How a source is read: where named sets are, where the labels come from, and whether links are followed."""

    data_root: str | None = None
    """Folder for named sets, which are downloaded if they are not there. The default is FIRSTLIGHT_DATA if it is set,
    otherwise the user's cache folder."""
    image_column: str | None = None
    """Name of the list's column of pictures, if firstlight does not find it by itself."""
    label_column: str | None = None
    """Name of the list's column of labels, if firstlight does not find it by itself."""
    label_from: str | None = None
    """Take the class from each picture's file name instead of its folder: a regular expression whose first group is the
    class, such as '^([a-z]+)' for cat.001.jpg. An expression with a slash is searched for in the whole path."""
    follow_links: bool = False
    """Follow symbolic links in a folder, and read the pictures they point to."""

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            RecipeError: if a value is not allowed.
        """
        check_choices(self, DATA_RANGES)
        if self.label_from is not None:
            try:
                re.compile(self.label_from)
            except re.error as error:
                reason = f"this is not a regular expression ({error}); write one, such as ^([a-z]+)"
                raise RecipeError(reason, field="label_from", value=self.label_from) from None

    @classmethod
    def of_source(cls, **choices: Any) -> Self:
        """Return a recipe with these choices about a source.

        Raises:
            RecipeError: if there is no such choice, or a value is not allowed.
        """
        names = [choice.name for choice in dataclasses.fields(SourceRecipe)]
        for name in choices:
            if name not in names:
                raise RecipeError(f"there is no choice {name}{did_you_mean(name, names)}")
        return cls(**choices)

    def source_choices(self) -> dict[str, Any]:
        """Return what `load_data` takes besides the source, by name."""
        return {choice.name: getattr(self, choice.name) for choice in dataclasses.fields(SourceRecipe)}

    def chosen(self) -> dict[str, Any]:
        """Return those of `source_choices` that differ from the defaults."""
        return {name: value for name, value in self.source_choices().items() if value != getattr(NO_CHOICES, name)}


NO_CHOICES = SourceRecipe()


@dataclass(frozen=True, kw_only=True)
class DataRecipe(SourceRecipe):
    """Which pictures are used, at what size, and how they are split. None means the network's default."""

    img_size: int | None = None
    """Side in pixels of the square that pictures are resized to. The default depends on the network; small pictures
    that all have the same size keep it."""
    resize: str | None = None
    """How pictures are made square: crop (keep the center), crop:0.875 (also trim the edges), pad, or squash. The
    default is what the pretrained weights expect, otherwise crop."""
    max_pixels: int = 50_000_000
    """Set aside pictures with more pixels than this, without decoding them."""
    allow_quarantine: bool = False
    """Continue even if more than 1% of the pictures cannot be used."""
    split: str = "70/15/15"
    """Proportions of train/valid/test, or the split.csv of an earlier run to reuse. Official splits are kept."""
    group_by: str | None = None
    """Keep related pictures in one split: folder (those of one folder), or a regular expression that finds the group
    in a picture's name."""
    drop_leaks: bool = False
    """Leave out training pictures that have a copy in an official validation or test split."""
    corrections: str | None = None
    """Apply the corrections of labels in this CSV file (image,label,action with keep, relabel or remove), such as the
    report's review writes. Your files and the test split stay as they are."""
    correct_test: bool = False
    """Apply the corrections to the test split as well."""
    cache: Literal["auto", "disk", "stream"] = "auto"
    """Where decoded pictures are kept: on disk, in the cache; or nowhere (stream), so that they are decoded again in
    each epoch. auto does that if the disk has no room. The result does not depend on it."""
    workers: int | None = None
    """Number of threads that decode pictures; the result does not depend on it."""

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            RecipeError: if a value is not allowed.
        """
        super().__post_init__()
        if self.resize is not None:
            parse_resize(self.resize)
        if self.correct_test and self.corrections is None:
            raise RecipeError("this needs a file of `corrections`", field="correct_test", value=True)
