"""Find which images belong together, by copies, by the source's groups or by their names, and must share a split."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates import Duplicates, group_ids
from firstlight.data.samples import Samples
from firstlight.errors import RecipeError


def image_groups(samples: Samples, duplicates: Duplicates, group_by: str | None = None) -> NDArray[np.int64]:
    """Return the group of each image: copies, images of one `group` of the source, and those that `group_by` joins.

    Args:
        samples: the set.
        duplicates: the copies in it.
        group_by: `folder` or a regular expression; see `groups_from_names`.

    Returns:
        int64 `[N]`, the smallest row in each image's group.

    Raises:
        RecipeError: if `group_by` cannot be used.
    """
    columns = [list(samples.groups)] if samples.groups else []
    if group_by:
        columns.append(groups_from_names(samples.names, group_by))
    for groups in columns:
        if group_by == "folder" and len(set(groups)) <= len(samples.classes):
            raise RecipeError(
                "each class is a single folder, so nothing could be split; use a regular expression instead",
                field="group_by",
                value=group_by,
            )
    rows_of: dict[tuple[int, str], list[int]] = {}
    for column, groups in enumerate(columns):
        for row, group in enumerate(groups):
            if group:
                rows_of.setdefault((column, group), []).append(row)
    return group_ids(len(samples.labels), duplicates, list(rows_of.values()))


def groups_from_names(names: Sequence[str], group_by: str) -> list[str]:
    """Return the group of each image that its name gives; empty if the image is a group of its own.

    Args:
        names: the images' names.
        group_by: `folder` (the folder of the image), or a regular expression whose first group, or whole match, is the
            name of the group; an image that it does not match is a group of its own.

    Raises:
        RecipeError: if the expression is not valid or matches no image.
    """
    if group_by == "folder":
        return [str(PurePosixPath(name).parent) for name in names]
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        reason = f"this is not a valid regular expression ({error}); fix it, or choose folder"
        raise RecipeError(reason, field="group_by", value=group_by) from None
    matches = [pattern.search(name) for name in names]
    if not any(matches):
        reason = f"no picture's name matches this ({names[0]}, for example); change the expression"
        raise RecipeError(reason, field="group_by", value=group_by)
    return ["" if not match else match.group(1 if pattern.groups else 0) or "" for match in matches]
