"""Images and labels in memory: stacks, lists of images of any size, or paths, with their labels."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.image_sources import ArrayImages, FileImages, ObjectImages
from firstlight.data.in_memory import ONE_IMAGE, as_array, image_content, is_image, is_missing
from firstlight.data.samples import ImageSource, Samples, number_names
from firstlight.data.sources.labels import Labels, cells_of, read_labels
from firstlight.errors import DataError, ImageError, WrongTypeError, kind_of
from firstlight.escaping import escape_name
from firstlight.files import expand_user


def from_arrays(images: Any, labels: Any) -> Samples:
    """Return images and labels as a set.

    Args:
        images: NumPy `[N, H, W]` or `[N, H, W, C]`, torch `[N, H, W]` or `[N, C, H, W]`, C = 1 or 3, see `to_uint8` for
            types and ranges; or a sequence of paths, or of images of any sizes, see `image_content`.
        labels: of each image, see `read_labels`.

    Raises:
        DataError: if shapes, types, ranges or lengths do not match, or a path is no file.
    """
    found, names = images_of(images, "arrays")
    return labeled("arrays", found, names, read_labels_for(labels, len(found), "arrays"))


def labeled(name: str, images: ImageSource, names: tuple[str, ...], labels: Labels, **more: Any) -> Samples:
    """Return a set of images in Python under the name of their kind; `more` are its splits, groups and notes."""
    columns = {"splits": None, "groups": None, "notes": (), **more}
    of_images = images.notes() if isinstance(images, ArrayImages) else ()
    columns["notes"] = (*columns["notes"], *of_images, *labels.notes)
    return Samples(
        name=name, source=name, images=images, names=names, labels=labels.labels, classes=labels.classes, **columns
    )


def read_labels_for(labels: Any, count: int, where: str, names: Sequence[str] | None = None) -> Labels:
    """Return the labels of `count` images, see `read_labels`.

    Raises:
        DataError: also if there are more labels than images, or fewer.
    """
    length = _length(labels)
    if length is not None and length != count:
        raise DataError(_other_count(where, count, length))
    found = read_labels(labels, where, names)
    if len(found.labels) != count:
        raise DataError(_other_count(where, count, len(found.labels)))
    return found


def _other_count(where: str, images: int, labels: int) -> str:
    pictures, given = (f"{n:,} {noun}{'s' * (n != 1)}" for n, noun in ((images, "picture"), (labels, "label")))
    return f"{where}: {pictures} but {given}; give one label for each picture"


def images_of(images: Any, where: str) -> tuple[ImageSource, tuple[str, ...]]:
    """Return images with their names: paths as they are written, numbers for images that have none.

    Raises:
        DataError: if there are none, if a path is not a file or is listed twice, or an array has a shape, type or range
            that could be misread.
    """
    if (isinstance(images, np.ndarray) and images.dtype.kind not in "OUS") or hasattr(images, "detach"):
        return _stack(images, where)
    if hasattr(images, "__array__") and getattr(images, "ndim", 0) > 2 and not isinstance(images, np.ndarray):
        return _stack(_converted(images, where), where)  # of another library, or in an HDF5 file
    cells = cells_of(images)
    cells = cells.tolist() if isinstance(cells, np.ndarray) else cells
    if isinstance(cells, str | bytes) or not hasattr(cells, "__iter__"):
        raise WrongTypeError(f"{where}: the pictures are {kind_of(images)}; give a list of them, each {ONE_IMAGE}")
    cells = list(cells)
    if not cells:
        raise DataError(f"{where}: there are no pictures")
    if all(isinstance(cell, str | os.PathLike) for cell in cells):
        names = _existing(cells, where)
        return FileImages(Path.cwd(), names), names
    _refuse_what_is_no_image(cells, where)
    if all(
        isinstance(cell, np.ndarray) and cell.shape == cells[0].shape and cell.dtype == cells[0].dtype for cell in cells
    ):
        return _stack(np.stack(cells), where)
    return ObjectImages(cells.__getitem__, len(cells)), tuple(number_names(len(cells)))


def channels_last(images: Any, where: str) -> NDArray[Any]:
    """Return images as an array `[N, H, W, C]` of the same data type.

    Args:
        images: NumPy `[N, H, W]` or `[N, H, W, C]`, torch `[N, H, W]` or `[N, C, H, W]` on any device, C = 1 or 3.
        where: the source, for messages.

    Raises:
        DataError: if they have another shape, or no pixels.
    """
    pixels = as_array(images)
    is_tensor = hasattr(images, "detach")
    layout = "torch [N, C, H, W]" if is_tensor else "NumPy [N, H, W, C]"
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    elif pixels.ndim == 4 and is_tensor:
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or 0 in pixels.shape[1:]:
        raise DataError(
            f"{where}: pictures have shape {tuple(np.shape(images))}; give {layout} with C = 1 or 3, or [N, H, W]"
        )
    return pixels


def _converted(images: Any, where: str) -> NDArray[Any]:
    try:
        return np.asarray(images)
    except (TypeError, ValueError) as error:  # as of arrays on a GPU
        raise WrongTypeError(
            f"{where}: the pictures are {kind_of(images)}, which NumPy cannot read ({escape_name(str(error))}); give a "
            "NumPy array"
        ) from None


def _stack(images: Any, where: str) -> tuple[ArrayImages, tuple[str, ...]]:
    pixels = channels_last(images, where)
    if not len(pixels):
        raise DataError(f"{where}: there are no pictures in an array of shape {tuple(pixels.shape)}")
    try:
        return ArrayImages(pixels), tuple(number_names(len(pixels)))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _refuse_what_is_no_image(cells: list[Any], where: str) -> None:
    """Refuse cells whose type is not that of an image; damaged images are found when they are read."""
    for number, cell in enumerate(cells):
        if is_missing(cell) or is_image(cell) or isinstance(cell, str | os.PathLike):
            continue
        try:
            image_content(cell)
        except WrongTypeError as error:
            raise WrongTypeError(f"{where}: picture {number}: {error}") from None
        except ImageError:
            continue


def _existing(paths: list[Any], where: str) -> tuple[str, ...]:
    """Return paths as text; each must be a file, and be listed only once."""
    seen: dict[str, int] = {}
    for number, path in enumerate(paths):
        name = os.fsdecode(path)
        name = str(expand_user(name)) if name.startswith("~") else name
        try:
            is_file = Path(name).is_file()
        except (OSError, ValueError):  # too long, or with a zero byte
            is_file = False
        if not is_file:
            raise DataError(f"{where}: picture {number}: there is no file {escape_name(name) or '(an empty path)'}")
        if name in seen:
            raise DataError(f"{where}: {escape_name(name)} is picture {seen[name]} and {number}; remove one of them")
        seen[name] = number
    return tuple(seen)


def _length(labels: Any) -> int | None:
    try:
        return int(labels.shape[0]) if hasattr(labels, "columns") else len(labels)
    except TypeError:
        return None
