"""Find the folders that are splits: `train/` and `test/`, or `seg_train/seg_train/`, and where the classes begin."""

from collections.abc import Collection, Sequence

from firstlight.data.samples import Split
from firstlight.data.sources.split_words import is_split_word, is_unlabeled, split_of
from firstlight.errors import DataError
from firstlight.escaping import list_names

# What people call the only folder in a test folder whose images have no labels.
_CONTAINERS = {"all", "data", "files", "images", "img", "imgs", "photos", "pictures", "unknown"}
TAKE_FIRST_FOLDER = "set `label_from` to '^([^/]+)/'"


def find_split_folders(folders: Collection[str], where: str) -> dict[str, Split]:
    """Return the split of each folder that is one, by its path with a slash at the end; nothing if there are none.

    Folders are splits if all of them are named so. One that is only partly named so, such as `seg_train`, is a split
    if others hold the same folders. A folder of the same split in it, and nothing else, is part of it.

    Args:
        folders: the folders that hold images, by their paths; "" is the root.
        where: the source, for messages.

    Raises:
        DataError: if it is not clear which folders are splits.
    """
    inside = _folders_inside(folders)
    splits = {top: split for top in inside if not is_unlabeled(top) and (split := split_of(top)) is not None}
    others = sorted(top for top in inside if top not in splits and not (splits and is_unlabeled(top)))
    if not splits or others:
        _refuse_unclear(inside, splits, others, where)
        _refuse_same_folders(inside, where)
        return {}
    prefixes = {_prefix(top, inside[top], split): split for top, split in splits.items()}
    classes = _folders_inside(folders, prefixes)
    if not all(map(is_split_word, splits)) and not _look_like_splits(classes, prefixes):
        return {}
    if all(inner <= {""} for inner in classes.values()):
        return prefixes  # they hold no class folders at all, which matters more than that two are one split
    for split in Split:
        same = sorted(top for top in splits if splits[top] == split)
        if len(same) > 1:
            raise DataError(f"{where}: {list_names(same, last=' and ')} are the same split; merge them")
    return prefixes


def outer_folder(images: Collection[str]) -> str:
    """Return the folders around everything, `photos/` or `a/b/`, if several folders or a split begin below them.

    Else nothing: the one folder then is a class.
    """
    outer = ""
    while True:
        tops = {name[len(outer) :].partition("/")[0] if "/" in name[len(outer) :] else "" for name in images}
        if "" in tops or not tops:
            return ""
        top = tops.pop()
        if tops or is_split_word(top) or (outer and split_of(top) is not None):
            return outer
        outer += f"{top}/"


def without_labels(prefixes: dict[str, Split], folders: Collection[str]) -> set[str]:
    """Return the split folders, but those for training, whose images are in no class folder: `test/images/*.jpg`."""
    classes = _folders_inside(folders, prefixes)
    known = {name for prefix in prefixes if prefixes[prefix] == Split.TRAIN for name in classes.get(prefix, ()) if name}
    return {
        prefix
        for prefix, split in prefixes.items()
        if split != Split.TRAIN and known and classes.get(prefix, set()) <= {""} | (_CONTAINERS - known)
    }


def splits_inside_classes(folders: Collection[str]) -> Sequence[str]:
    """Return the folders named as splits that every class folder holds, as in `cat/train` and `dog/train`."""
    inside = list(_folders_inside(folders).values())
    common = set.intersection(*inside) if inside else set()
    named = sorted(name for name in common if name and split_of(name) is not None)
    return named if len(named) > 1 else ()


def tops_as_splits(tops: Collection[str]) -> dict[str, Split]:
    """Return the split of each of the first folders if all are named as splits, else nothing."""
    splits = {top: split for top in tops if (split := split_of(top)) is not None}
    return splits if len(splits) == len(tops) else {}


def _folders_inside(folders: Collection[str], prefixes: Collection[str] = ()) -> dict[str, set[str]]:
    """Return the folders directly in each first folder, or in each of `prefixes`; `""` for images directly in it."""
    inside: dict[str, set[str]] = {}
    by_top = {prefix.partition("/")[0]: prefix for prefix in prefixes}
    for folder in folders:
        top = folder.partition("/")[0]
        prefix = by_top.get(top, "") if prefixes else f"{top}/"
        if folder and prefix and f"{folder}/".startswith(prefix):
            inside.setdefault(prefix if prefixes else top, set()).add(folder[len(prefix) :].partition("/")[0])
    return inside


def _prefix(top: str, inside: set[str], split: Split) -> str:
    """Return where the classes of a split begin: `train/`, or `train/train/` if that is all it holds."""
    only = next(iter(inside)) if len(inside) == 1 else ""
    return f"{top}/{only}/" if only and split_of(only) == split else f"{top}/"


def _look_like_splits(classes: dict[str, set[str]], prefixes: dict[str, Split]) -> bool:
    """Return whether folders that may be splits by their names hold class folders as splits do."""
    sides = [folders - {""} for folders in classes.values() if folders - {""}]
    if not sides:
        return Split.TRAIN in prefixes.values() and len(set(prefixes.values())) > 1
    if len(sides) == 1:
        return Split.TRAIN in prefixes.values()
    return len(set().union(*sides)) < sum(map(len, sides))


def _refuse_unclear(inside: dict[str, set[str]], splits: dict[str, Split], others: list[str], where: str) -> None:
    """Refuse a split folder beside class folders: "train" may be a class beside "bus", but not if it holds folders."""
    unclear = sorted(top for top in splits if is_split_word(top) and "" not in inside[top])
    if unclear:
        one = len(unclear) == 1
        raise DataError(
            f"{where} has the split folder{'s' * (not one)} {list_names(unclear, last=' and ')} beside "
            f"{list_names(others)}; rename these if they are splits too, or move them out; if "
            f"{'it is a class' if one else 'all are classes'}, {TAKE_FIRST_FOLDER}"
        )


def _refuse_same_folders(inside: dict[str, set[str]], where: str) -> None:
    """Refuse first folders that all hold the same folders: these are probably the classes."""
    common = set.intersection(*inside.values()) if len(inside) > 1 else set()
    if len(common) < 2 or "" in set().union(*inside.values()) or all(split_of(name) is not None for name in common):
        return
    if 2 * len(common) < len(set().union(*inside.values())):
        return
    tops, both = sorted(inside), sorted(common)
    raise DataError(
        f"{where}: {list_names(tops, last=' and ')} hold the same folders ({list_names(both, most=4)}); if they "
        f"are splits, rename them train and test; if they are classes, {TAKE_FIRST_FOLDER}"
    )
