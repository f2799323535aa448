"""The choices about data: which images are used, at what size, and how they are split.

>>> DataRecipe(img_size=32, split="80/10/10").resize is None
True
"""

from dataclasses import dataclass

from firstlight.choices import check_choices
from firstlight.resize import parse_resize

DATA_RANGES: dict[str, tuple[float, float]] = {"img_size": (1, 4096), "max_pixels": (1, 2**31), "workers": (1, 1024)}


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Which pictures are used, at what size, and how they are split. None takes the default of the network."""

    data_root: str | None = None
    """Folder where named sets are looked for and downloaded to; default FIRSTLIGHT_DATA, else the user's cache
    folder."""
    image_column: str | None = None
    """The column of a list that holds the pictures, if it has an unusual name."""
    label_column: str | None = None
    """The column of a list that holds the labels, if it has an unusual name."""
    img_size: int | None = None
    """Side of the square that pictures are resized to, in pixels. By default it depends on the network, and small
    pictures of one size keep it."""
    resize: str | None = None
    """How a picture becomes that square: crop (keep the center), crop:0.875 (cut the rim off as well), pad or squash.
    The default is what the pretrained weights were made for, else crop."""
    max_pixels: int = 50_000_000
    """A picture with more pixels than this is quarantined before it is decoded."""
    allow_quarantine: bool = False
    """Continue even if more than 1 % of the pictures cannot be used."""
    split: str = "70/15/15"
    """Proportions of train/valid/test, or the split.csv of an earlier run to follow. Official splits are kept."""
    group_by: str | None = None
    """Pictures that must stay together: folder, or a regular expression on their names."""
    drop_leaks: bool = False
    """Leave out training pictures that have a copy in an official validation or test split."""
    workers: int | None = None
    """Number of threads that decode pictures; the result does not depend on it."""

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            RecipeError: if a value is not allowed.
        """
        check_choices(self, DATA_RANGES)
        if self.resize is not None:
            parse_resize(self.resize)
