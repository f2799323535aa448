"""What a Predictor accepts: paths, bytes, PIL images, arrays and tensors, each read as pixels of the model's size."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import IOBase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from firstlight.data.formats import LIST_SUFFIXES, SUFFIXES
from firstlight.data.images import resize_image
from firstlight.data.in_memory import pixels_of, to_uint8
from firstlight.data.isolation import decode_safely
from firstlight.data.sources.archives import ArchiveImages, archive_kind, open_unlabeled
from firstlight.data.sources.labels import cells_of
from firstlight.data.sources.litter import is_ignored
from firstlight.data.sources.shard_index import is_shard_folder
from firstlight.data.sources.shards import ShardImages, open_shards
from firstlight.data.sources.unlabeled_lists import paths_in_list
from firstlight.errors import DataError, ImageError, WrongTypeError
from firstlight.files import expand_user, read_regular
from firstlight.white import White

Images = ArchiveImages | ShardImages  # in one archive, or in one folder of shards

ACCEPTED = (
    "the path of a file or a folder, the bytes of a file, a PIL image, a NumPy array [H, W], [H, W, C], [N, H, W] or "
    "[N, H, W, C], a torch tensor [C, H, W] or [N, C, H, W], with C = 1 or 3, or a list of these"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One image to classify.

    Attributes:
        content: a path as `str`, the bytes of a file, a PIL image, uint8 `[H, W, C]`, where it is in an archive, or the
            reason why it cannot be read.
        name: the path; None for what has none.
    """

    content: "str | bytes | Image.Image | NDArray[np.uint8] | Archived | ImageError"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Archived:
    """An image in an archive or in shards, at a path."""

    images: Images
    index: int
    file: str


@dataclass(frozen=True, slots=True)
class Target:
    """How images are prepared: the model's `(C, H, W)`, its way of resizing, its limit of pixels, and its white."""

    input_size: tuple[int, int, int]
    resize: str
    max_pixels: int
    white: White


def is_one_image(given: Any) -> bool:
    """Return whether this is a single image; its answer is then one prediction, not a list."""
    if isinstance(given, str | os.PathLike):
        path = os.fsdecode(given)
        holds_several = archive_kind(Path(path)) is not None or Path(path).suffix.lower() in LIST_SUFFIXES
        return not holds_several and not _is_folder(path)
    if isinstance(given, np.ndarray):
        return 1 < given.ndim < 4 and not _is_gray_stack(given)
    if isinstance(given, torch.Tensor):
        return given.ndim < 4
    return isinstance(given, bytes | bytearray | memoryview | Image.Image)


def items_of(given: Any, white: White) -> Iterator[Item]:
    """Yield every image in what was given, in order; `white` is that of the model.

    Raises:
        WrongTypeError: if it is anything else; it says what is accepted.
        DataError: if an array holds values that no image has.
    """
    if isinstance(given, IOBase):  # which iterates over lines
        raise _not_accepted(given)
    if _is_column(given):
        given = given.tolist() if isinstance(given, np.ndarray) else cells_of(given)
    if isinstance(given, list | tuple | Iterator):
        for one in given:
            if isinstance(one, list | tuple | Iterator):
                raise _not_accepted(one, "inside a list")
            yield from _items_of_one(one, white)
    else:
        yield from _items_of_one(given, white)


def find_files(paths: Iterable[str]) -> Iterator[str]:
    """Yield files as they are, and for each folder the image files below it, in the order of their names.

    Links inside a folder are not followed. A folder of shards is yielded like an archive. A path that does not exist,
    or a folder that cannot be read, is yielded like a file: its prediction will say why it cannot be used.
    """
    for given in paths:
        path = str(expand_user(given)) if given.startswith("~") else given
        if _is_folder(path) and not is_shard_folder(Path(path)):
            yield from _files_below(path)
        else:
            yield path


def items_in(paths: Iterable[str]) -> Iterator[Item]:
    """Yield every image at these paths, as `find_files` does, and every image in archives, shards and lists."""
    for file in find_files(paths):
        if archive_kind(Path(file)) is not None or is_shard_folder(Path(file)):
            yield from _items_inside(file)
        elif Path(file).suffix.lower() in LIST_SUFFIXES:
            yield from _items_in_list(file)
        else:
            yield Item(file, file)


def open_inside(file: str) -> tuple[Sequence[str], Images]:
    """Return the names of all images in an archive, or a folder of shards, and the images.

    Raises:
        DataError: if it cannot be used.
        OSError: if it cannot be read.
    """
    if archive_kind(Path(file)) is None:
        return open_shards(Path(file), "it")
    return open_unlabeled(Path(file), "it")


def _items_inside(file: str) -> Iterator[Item]:
    try:
        names, images = open_inside(file)
    except (DataError, OSError) as error:
        yield Item(ImageError(str(error)), file)
        return
    yield from (Item(Archived(images, index, file), f"{file}/{name}") for index, name in enumerate(names))


def _items_in_list(file: str) -> Iterator[Item]:
    try:
        yield from (Item(path, path) for path in paths_in_list(Path(file), "it"))
    except (DataError, OSError) as error:
        yield Item(ImageError(_reason(error)), file)


def read_item(item: Item, target: Target) -> "NDArray[np.uint8] | str":
    """Return an image as uint8 `[H, W, C]` of the model's size, or the reason why it cannot be used."""
    try:
        pixels = _pixels(item, target, target.input_size, target.resize)
        return resize_image(pixels, target.input_size, target.resize)
    except (ImageError, OSError) as error:
        return _reason(error)


def read_whole(item: Item, target: Target, side: int) -> "NDArray[np.uint8] | str":
    """Return a whole image, made smaller if a side is longer than `side`, as uint8 `[H, W, C]`; or the reason why not.

    Nothing is cut off or added, whatever the model's way of resizing.
    """
    try:
        pixels = _pixels(item, target, (3, side, side), "pad")
    except (ImageError, OSError) as error:
        return _reason(error)
    height, width, channels = pixels.shape
    if (longer := max(height, width)) <= side:
        return pixels
    size = (channels, max(1, round(height * side / longer)), max(1, round(width * side / longer)))
    return resize_image(pixels, size, "squash")


def _pixels(item: Item, target: Target, size: tuple[int, int, int], resize: str) -> NDArray[np.uint8]:
    """Return an image as uint8 `[H, W, C]`; a file may be decoded smaller, if it will be resized to this size."""
    content = item.content
    if isinstance(content, str):
        content = _read_file(content)
    if isinstance(content, ImageError):
        raise content
    if isinstance(content, Archived):
        content = content.images.read(content.index)
    if isinstance(content, bytes):
        return decode_safely(
            content,
            name=item.name or "",
            max_pixels=target.max_pixels,
            input_size=size,
            resize=resize,
            white=target.white,
        ).pixels
    height, width = content.shape[:2] if isinstance(content, np.ndarray) else content.size[::-1]
    if height * width > target.max_pixels:
        raise ImageError(
            f"{width} x {height} pixels are more than the limit of {target.max_pixels:,}; make it smaller, or "
            "raise `max_pixels`"
        )
    return content if isinstance(content, np.ndarray) else pixels_of(content, target.white)


def _reason(error: DataError | OSError) -> str:
    if isinstance(error, DataError):
        return str(error)
    return f"cannot be read: {error.strerror or error}"


def _read_file(path: str) -> bytes:
    if not path.strip():
        raise ImageError("the name is empty; name a picture, a folder or an archive")
    if path.startswith(("http://", "https://")):
        raise ImageError("is a web address; download the picture and name its file")
    try:
        status = os.stat(path)  # noqa: PTH116 - names that are no valid Unicode pass as they are
    except ValueError:
        what = "a zero byte" if "\0" in path else "half of a character"
        raise ImageError(f"is not a path: it holds {what}; write one path per line") from None
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device might never end
        raise ImageError("is not a regular file")
    return read_regular(path)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for what cannot be looked at


def _items_of_one(given: Any, white: White) -> Iterator[Item]:
    if isinstance(given, str | os.PathLike):
        yield from items_in([os.fsdecode(given)])
    elif isinstance(given, bytes | bytearray | memoryview):
        yield Item(bytes(given))
    elif isinstance(given, Image.Image):
        yield Item(given)
    elif isinstance(given, np.ndarray | torch.Tensor):
        yield from (Item(image) for image in _stack_of(given, white))
    else:
        raise _not_accepted(given)


def _is_column(given: Any) -> bool:
    """Return whether this is a column of a data frame, or an array of paths or of images, rather than pixels."""
    if isinstance(given, np.ndarray):
        return given.ndim == 1 and given.dtype.kind in "OU"
    is_flat = getattr(given, "ndim", 1) == 1 and not isinstance(given, torch.Tensor)
    return is_flat and any(hasattr(given, name) for name in ("to_list", "to_pylist"))


def _is_gray_stack(given: NDArray[Any]) -> bool:
    return given.ndim == 3 and given.shape[2] not in (1, 3)


def _stack_of(given: "NDArray[Any] | torch.Tensor", white: White) -> NDArray[np.uint8]:
    """Return an array or a tensor as uint8 `[N, H, W, C]`."""
    if isinstance(given, torch.Tensor):
        shaped = given.ndim in (3, 4) and given.shape[-3] in (1, 3)
        if not shaped:
            raise _not_accepted(given)
        try:
            values: NDArray[Any] = given.detach().cpu().numpy()
        except TypeError:  # a number type that NumPy lacks
            raise DataError(f"the tensor is {given.dtype}; give uint8 in 0..255, or floats in 0..1") from None
        values = np.moveaxis(values, -3, -1)
    else:
        if given.ndim == 3 and given.shape[0] == 3 and _is_gray_stack(given):
            raise WrongTypeError(
                f"an array of shape {given.shape} could be three gray images or one in color; "
                "give [N, H, W, 1] or [H, W, 3]"
            )
        if _is_gray_stack(given) and given.shape[2] in (2, 4):
            raise WrongTypeError(
                f"an array of shape {given.shape} looks like one image with transparency; give the PIL image, which is "
                "drawn on white, or [H, W, 3]; for gray images, [N, H, W, 1]"
            )
        values = given[..., None] if given.ndim == 2 or _is_gray_stack(given) else given
        if values.ndim not in (3, 4) or values.shape[-1] not in (1, 3):
            raise _not_accepted(given)
    if 0 in values.shape[-3:]:
        raise _not_accepted(given)
    stack = values if values.ndim == 4 else values[None]
    return to_uint8(stack, white) if len(stack) else stack.astype(np.uint8)


def _files_below(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in entries:
        if is_ignored(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file(follow_symlinks=False):
            yield entry.path


def _not_accepted(given: Any, where: str = "") -> WrongTypeError:
    shape = getattr(given, "shape", None)
    what = type(given).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
    return WrongTypeError(f"{what} {where + ' ' if where else ''}cannot be classified; give {ACCEPTED}")
