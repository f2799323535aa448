"""Load a set of labeled images from a name, a folder, an archive, a list, or objects in Python."""

import difflib
import errno
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from firstlight.data.formats import LIST_SUFFIXES
from firstlight.data.image_sources import FileImages
from firstlight.data.recipe import SourceRecipe
from firstlight.data.samples import ImageSource, Samples, label_classes
from firstlight.data.sources.archives import archive_kind, open_archive
from firstlight.data.sources.class_folders import read_layout
from firstlight.data.sources.file_names import read_file_names
from firstlight.data.sources.layout import Layout
from firstlight.data.sources.listing import FolderListing, list_folder
from firstlight.data.sources.lists import read_list
from firstlight.data.sources.named_sets import NAMED_SETS, default_data_root, load_named
from firstlight.data.sources.objects import from_object
from firstlight.data.sources.shard_index import is_shard_folder, refuse_unfinished
from firstlight.data.sources.shards import read_shards
from firstlight.errors import DataError, require_type
from firstlight.escaping import escape, escape_name
from firstlight.files import dangling, expand_user
from firstlight.progress import phase

_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")


@phase("listing pictures")
def load_data(
    source: Any,
    *,
    data_root: Path | str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    label_from: str | None = None,
    follow_links: bool = False,
    download: bool = True,
) -> Samples:
    """Return a set of labeled images. Only names are read now; each image is read when it is needed.

    Args:
        source: one of
            a name: `digits`, `mnist`, `fashion-mnist`, `kmnist`, `cifar10`, `cifar100`;
            a folder `root/<class>/*` or `root/{train,valid,test}/<class>/*`, splits also by other names for them;
            a folder of shards that `pack` wrote;
            a class folder or split folders as `.tar`, `.tar.gz`, `.tgz` or `.zip`, also with one folder around it;
            a list `image,label[,split][,group]` as `.csv`, `.tsv` or `.parquet`, paths relative to the list; the
            columns may have the usual other names, and a Parquet list may hold the files of the pictures;
            `(images, labels)`: NumPy `[N, H, W]`, `[N, H, W, C]` or torch `[N, C, H, W]`, C = 1 or 3, uint8, or
            floats in 0..1, or uint16 in 0..65535; or a list of paths, or of arrays, PIL images or bytes of any sizes.
            Labels are `[N]` or `[N, 1]` words, whole numbers (classes in numeric order) or booleans, or one-hot;
            a data frame of pandas or polars, or a dict, with the columns of a list, whose images are paths or images;
            a data set of torch, torchvision or Hugging Face, or a list of pairs `(image, label)`;
            a dict of these by split, such as `{"train": ..., "test": ...}`.
        data_root: where named sets are looked for and downloaded to; default `FIRSTLIGHT_DATA`, else the user's
            cache folder.
        image_column: the column of a list or data frame that holds the images, if it has an unusual name.
        label_column: the column of a list or data frame that holds the labels, if it has an unusual name.
        label_from: for folders and archives, a regular expression that is searched for in each image's file name, or in
            its whole path if there is a slash in the expression. Its first group is the class: `^([a-z]+)` finds `cat`
            in `cat.001.jpg`. By default the class is the folder.
        follow_links: for folders, whether to read what symbolic links point to.
        download: whether a named set that is not there may be downloaded.

    Raises:
        DataError: one line that says what is wrong, where and what to do.
        RecipeError: if `label_from` is not a regular expression, or matches no name.

    >>> samples = load_data("digits")
    >>> len(samples), samples.classes[:3]
    (1797, ('0', '1', '2'))
    """
    choices = SourceRecipe(
        image_column=image_column, label_column=label_column, label_from=label_from, follow_links=follow_links
    )
    samples = _load(source, data_root, choices, download=download)
    if label_from is not None and not _has_named_files(source):
        note = "`label_from` is for folders and archives; this set has its own labels, which were used"
        return replace(samples, notes=(*samples.notes, note))
    return samples


def _load(source: Any, data_root: Path | str | None, choices: SourceRecipe, *, download: bool) -> Samples:
    require_type(data_root, str | os.PathLike | None, "data_root", "the path of a folder")
    if not isinstance(source, str | os.PathLike):
        return from_object(
            source,
            lambda part: _load(part, data_root, choices, download=download),
            image_column=choices.image_column,
            label_column=choices.label_column,
        )
    text = os.fsdecode(source)
    if not text.strip():
        raise DataError("the source is empty; give a folder, an archive, a list, or the name of a set")
    if re.match(r"[a-z][a-z0-9+.-]+://", text):
        raise DataError(f"{escape_name(text)} is a web address; download it first, and give the file")
    path = expand_user(text)
    if isinstance(source, str) and text in NAMED_SETS:
        root = expand_user(data_root) if data_root else default_data_root()
        return load_named(text, root, download=download)
    try:
        if path.is_dir():
            return _from_folder(path, text, choices)
        if path.is_file():
            return _from_file(path, text, choices)
        if path.exists():
            raise DataError(f"{escape_name(text)} is neither a file nor a folder; give a file or a folder")
    except OSError as error:
        advice = "shorten it" if error.errno == errno.ENAMETOOLONG else "make it readable"
        raise DataError(f"{escape_name(text)} cannot be read: {error.strerror}; {advice}") from error
    if gone := dangling(path):
        raise DataError(f"{escape_name(text)}: {escape(gone)}; give the folder or file itself, or fix the link")
    raise DataError(f"{escape_name(text)}: no such folder, archive, list or named set{_did_you_mean(text, path)}")


def _has_named_files(source: Any) -> bool:
    """Return whether a source is a folder or an archive, whose files may be named after their classes."""
    if not isinstance(source, str | os.PathLike) or (isinstance(source, str) and source in NAMED_SETS):
        return False
    path = Path(os.fsdecode(source)).expanduser()
    return (path.is_dir() and not is_shard_folder(path)) or archive_kind(path) is not None


def _from_folder(path: Path, source: str, choices: SourceRecipe) -> Samples:
    where = escape_name(source)
    if is_shard_folder(path):
        return read_shards(path.resolve(), source, _short_name(path.resolve().name))
    refuse_unfinished(path, where)
    found = list_folder(path, where, follow_links=choices.follow_links)
    layout = _read_names(found, where, choices)
    return _labeled(path.resolve().name, source, layout, FileImages(path.resolve(), layout.names))


def _from_file(path: Path, source: str, choices: SourceRecipe) -> Samples:
    if archive_kind(path):
        where = escape_name(source)
        layout, images = open_archive(path, where, lambda found: _read_names(found, where, choices))
        return _labeled(re.sub(r"(?i)\.(tar|tar\.gz|tgz|zip)$", "", path.name), source, layout, images)
    if path.suffix.lower() in LIST_SUFFIXES:
        return read_list(path, source, image_column=choices.image_column, label_column=choices.label_column)
    if path.suffix.lower() in _WORKBOOKS:
        raise DataError(f"{escape_name(source)} is a workbook; save the sheet as CSV UTF-8 and use that file")
    raise DataError(
        f"{escape_name(source)} is neither an archive (.tar .tar.gz .tgz .zip) nor a list (.csv .tsv .parquet); "
        "give one of these or a folder"
    )


def _read_names(found: FolderListing, where: str, choices: SourceRecipe) -> Layout:
    if choices.label_from is not None:
        return read_file_names(found, where, choices.label_from)
    return read_layout(found, where)


def _labeled(name: str, source: str, layout: Layout, images: ImageSource) -> Samples:
    classes, labels, notes = label_classes(layout.words, escape_name(source))
    notes = (*layout.notes, *notes)
    return Samples(_short_name(name), source, images, layout.names, labels, classes, layout.splits, None, notes)


def _short_name(name: str) -> str:
    """Return a name that can be part of a folder name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "pictures"


def _did_you_mean(text: str, path: Path) -> str:
    """Return a suggestion: the most similar named set, or neighbor of the path that does not exist."""
    try:
        beside = {entry.name: str(path.parent / entry.name) for entry in path.parent.iterdir()}
    except OSError:
        beside = {}
        if not path.parent.is_dir() and path.parent.name:
            return f" (and its folder {escape_name(str(path.parent))} does not exist)"
    by_lower_name = {name.lower(): meant for name, meant in {**beside, **{name: name for name in NAMED_SETS}}.items()}
    near = difflib.get_close_matches(path.name.lower(), by_lower_name, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {escape_name(by_lower_name[near[0]])}?"
    return f"; named sets are {', '.join(NAMED_SETS)}" if "/" not in text else ""
