"""Load sets known by name: `digits` from scikit-learn, the MNIST family and CIFAR from torchvision's files.

Files are looked for under the data root; those that are not there are downloaded by torchvision. They are read here:
IDX strictly by its header; the CIFAR pickles only if they are the published files, by an unpickler that can build
arrays and nothing else.
"""

import gzip
import hashlib
import io
import math
import os
import pickle
import socket
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from firstlight.cache import cache_folder
from firstlight.data.image_sources import ArrayImages
from firstlight.data.samples import Samples, Split, number_names
from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.files import expand_user, open_regular, read_regular

DOWNLOAD_TIMEOUT_SECONDS = 30.0  # without a byte from the server

_DIGITS = tuple(str(digit) for digit in range(10))
_FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

# name: torchvision's class (and its folder), class names in the official order
_IDX_SETS = {
    "mnist": ("MNIST", _DIGITS),
    "fashion-mnist": ("FashionMNIST", _FASHION),
    "kmnist": ("KMNIST", _KUZUSHIJI),
}
_IDX_FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
# name: torchvision's class, its folder, the keys of labels and class names, the file of class names, and each
# file's published MD5
_CIFAR_SETS: dict[str, tuple[str, str, str, str, str, dict[str, str]]] = {
    "cifar10": (
        *("CIFAR10", "cifar-10-batches-py", "labels", "label_names", "batches.meta"),
        {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
    ),
    "cifar100": (
        *("CIFAR100", "cifar-100-python", "fine_labels", "fine_label_names", "meta"),
        {
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
    ),
}
NAMED_SETS = ("digits", *_IDX_SETS, *_CIFAR_SETS)


def default_data_root() -> Path:
    """Return where named sets are looked for and downloaded to: `FIRSTLIGHT_DATA`, else the user's cache folder."""
    return expand_user(os.environ.get("FIRSTLIGHT_DATA") or cache_folder() / "data")


def load_named(name: str, root: Path, *, download: bool = True) -> Samples:
    """Return a named set with its official splits; `digits` (8x8, 0..16 scaled to 0..255) has none.

    Raises:
        DataError: if files are damaged, or are not under `root` and cannot, or must not, be downloaded.
    """
    if name == "digits":
        return _digits()
    found = _find(name, root)
    if found is None:
        if not download:
            raise DataError(
                f"{name} is not under {escape_name(str(root))}; set FIRSTLIGHT_DATA to the folder that has it, or "
                "choose another `data_root`"
            )
        _download(name, root)
        found = _find(name, root)
        assert found is not None, f"torchvision put {name} in an unexpected place"
    (train, train_labels), (test, test_labels), classes = found
    labels = np.concatenate([train_labels, test_labels]).astype(np.int64)
    if len(classes) <= labels.max() or len(labels) != len(train) + len(test):
        raise DataError(f"{name} in {escape_name(str(root))}: labels and pictures do not match; download it again")
    splits = np.repeat(np.array([Split.TRAIN, Split.TEST], np.int8), [len(train), len(test)])
    names = [*number_names(len(train), "train/"), *number_names(len(test), "test/")]
    images = ArrayImages(np.concatenate([train, test]))
    return Samples(name, name, images, tuple(names), labels, classes, splits, None, ())


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array in an IDX file of bytes, raw or gzipped, whose header must match its length exactly.

    Args:
        path: the file; `.gz` is unpacked while it is read, never beyond the size in the header.
        dimensions: 3 for images `[N, H, W]`, 1 for labels `[N]`.

    Raises:
        DataError: if it is damaged, too short, too long, or not an IDX file.
    """
    where = escape_name(path.name)
    try:
        with open_regular(path) as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            header = file.read(4 + 4 * dimensions)
            magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
            if magic != 0x0800 + dimensions:  # 08: unsigned bytes
                raise DataError(f"{where} is not an IDX file of {dimensions} dimensions of bytes; download it again")
            size = math.prod(shape)
            if size > 1 << 32:
                raise DataError(f"{where} declares {size:,} bytes, more than such a set has; download it again")
            data = _read_up_to(file, size + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{where} cannot be read ({error}); download it again") from error
    if len(data) != size:
        raise DataError(f"{where} holds {len(data):,} bytes where its header declares {size:,}; download it again")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_up_to(file: BinaryIO | gzip.GzipFile, size: int) -> bytes:
    """Read in blocks, so that a false header cannot reserve memory."""
    blocks, left = [], size
    while left and (block := file.read(min(left, 1 << 24))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


LabeledImages = tuple[NDArray[np.uint8], NDArray[np.int64]]  # [n, H, W, C] and [n]


def _find(name: str, root: Path) -> tuple[LabeledImages, LabeledImages, tuple[str, ...]] | None:
    """Return the training part, the test part and the classes of a set; None if its files are not under `root`."""
    return _find_idx(name, root) if name in _IDX_SETS else _find_cifar(name, root)


def _find_idx(name: str, root: Path) -> tuple[LabeledImages, LabeledImages, tuple[str, ...]] | None:
    torchvision_folder, classes = _IDX_SETS[name]
    for folder in (root / torchvision_folder / "raw", root / name):
        paths = [next((p for p in (folder / file, folder / f"{file}.gz") if p.is_file()), None) for file in _IDX_FILES]
        if None not in paths:
            train, train_labels, test, test_labels = (
                read_idx(path, dimensions) for path, dimensions in zip(paths, (3, 1, 3, 1), strict=True) if path
            )
            return (
                (train[..., None], train_labels.astype(np.int64)),
                (test[..., None], test_labels.astype(np.int64)),
                classes,
            )
    return None


def _find_cifar(name: str, root: Path) -> tuple[LabeledImages, LabeledImages, tuple[str, ...]] | None:
    _, folder, label_key, class_key, meta, files = _CIFAR_SETS[name]
    if not all((root / folder / file).is_file() for file in files):
        return None
    contents = {file: _unpickle(root / folder / file, md5) for file, md5 in files.items()}

    def read_part(names: list[str]) -> LabeledImages:
        planes = np.concatenate([contents[each]["data"] for each in names]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([contents[each][label_key] for each in names])
        return planes.transpose(0, 2, 3, 1), labels.astype(np.int64)

    train = [file for file in files if file not in (meta, "test", "test_batch")]
    test = [file for file in files if file in ("test", "test_batch")]
    return read_part(train), read_part(test), tuple(contents[meta][class_key])


def _unpickle(path: Path, md5: str) -> dict[str, Any]:
    data = read_regular(path)
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{escape_name(str(path))} is not the published file (its MD5 differs); remove it and download it again"
        )
    content: dict[str, Any] = _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    return content


class _ArrayUnpickler(pickle.Unpickler):
    """Builds the plain values and byte arrays of the CIFAR files, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.ndarray.__new__,
            ("numpy", "ndarray"): np.ndarray,
            # Python 2 wrote numbers where NumPy now expects booleans
            ("numpy", "dtype"): lambda kind, align, copy: np.dtype(kind, align=bool(align), copy=bool(copy)),
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong in a set of pictures")
        return allowed[module, name]


def _digits() -> Samples:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of joblib, where it has no shared memory, which is not needed
        from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    names = tuple(number_names(len(images)))
    labels = digits.target.astype(np.int64)
    return Samples("digits", "digits", ArrayImages(images), names, labels, _DIGITS, None, None, ())


def _download(name: str, root: Path) -> None:
    """Download and verify the files by torchvision.

    Raises:
        DataError: if that fails; it names the files to bring and where to put them.
    """
    from torchvision import datasets

    kind = getattr(datasets, _IDX_SETS[name][0] if name in _IDX_SETS else _CIFAR_SETS[name][0])
    downloader = kind.__new__(kind)  # without its constructor, which would also load the set
    downloader.root = str(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _connection_timeout(), redirect_stdout(sys.stderr):
            downloader.download()
    except (OSError, RuntimeError) as error:
        if name in _IDX_SETS:
            bring = f"{', '.join(_IDX_FILES)} (raw or .gz) into {root / name}"
        else:
            bring = f"{kind.filename} into {root}"
        why = escape_name(str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__)
        raise DataError(
            f"{name} is not under {root} and cannot be downloaded ({why}); put {bring}, or choose another `data_root`"
        ) from error


@contextmanager
def _connection_timeout() -> Iterator[None]:
    """End connections on which nothing arrives: torchvision sets no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
