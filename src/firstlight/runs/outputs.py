"""The outputs of a run: labels, logits, and features of each split; thumbnails of some images, and facts about them.

All lie in the run folder as `.safetensors`, so that figures, the report and comparisons need neither the images nor the
model.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import RunError
from firstlight.files import atomic_path, open_regular
from firstlight.runs.folder import OUTPUTS_FOLDER
from firstlight.runs.seals import require_tensor_seal, seal_of

THUMBNAILS_FILE = "images.safetensors"  # of the images that figures show, at up to 256 pixels
SMALL_THUMBNAILS_FILE = "small_images.safetensors"  # of the many that the report shows, at up to 96 pixels
CHECK_IMAGES_FILE = "check_images.safetensors"  # on which a model and what is exported from it must agree
FACTS_FILE = "image_facts.safetensors"
MAX_LOSSLESS_SIDE = 128  # pixels; figures show the pixels of images up to this size as squares
MAX_SIDE = 1024  # pixels; no thumbnail that firstlight wrote is larger
Tensors = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model said about a split.

    Attributes:
        names: of the images, n of them.
        labels: int64 `[n]`.
        logits: float32 `[n, K]`, before calibration.
        features: float32 `[n, D]`; None if they were not kept.
        digests: of the images as they were given, uint64 `[n]`, see `Store.digests`; None if they were not kept.
        strangeness: how strange each image is to the model, float32 `[n]`; None if it cannot tell.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None = None
    digests: NDArray[np.uint64] | None = None
    strangeness: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the shapes and types of the arrays."""
        count = len(self.names)
        assert self.labels.dtype == np.int64 and self.labels.shape == (count,)
        assert self.logits.dtype == np.float32 and self.logits.ndim == 2 and len(self.logits) == count
        if self.features is not None:
            assert self.features.dtype == np.float32 and self.features.ndim == 2 and len(self.features) == count
        if self.digests is not None:
            assert self.digests.dtype == np.uint64 and self.digests.shape == (count,)
        if self.strangeness is not None:
            assert self.strangeness.dtype == np.float32 and self.strangeness.shape == (count,)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """Facts about the n images of the test outputs, in their order, by which the report compares scores.

    Attributes:
        sizes: height and width of each in pixels, int32 `[n, 2]`; 0 where they are not known.
        brightness: the mean of its pixels from 0 (black) to 1 (white), float32 `[n]`.
        groups: what each belongs to, by the source or by its name; empty where it belongs to nothing.
    """

    sizes: NDArray[np.int32]
    brightness: NDArray[np.float32]
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the shapes and types of the arrays."""
        count = len(self.groups)
        assert self.sizes.dtype == np.int32 and self.sizes.shape == (count, 2)
        assert self.brightness.dtype == np.float32 and self.brightness.shape == (count,)

    def __len__(self) -> int:
        return len(self.groups)


def outputs_file(folder: Path, split: str) -> Path:
    """Return where the outputs of a split are, or would be, in a run folder."""
    return folder / OUTPUTS_FOLDER / f"{split}.safetensors"


def write_outputs(folder: Path, split: str, outputs: Outputs) -> Path:
    """Write `outputs/<split>.safetensors` into a run folder, atomically, and return its path.

    Features are kept as float16, unless one of them is too large for that.

    Args:
        folder: the run folder.
        split: `train`, `valid` or `test`.
        outputs: what the model said.
    """
    tensors: Tensors = {
        **_packed("name", _name_bytes(outputs.names)),
        "labels": outputs.labels,
        "logits": outputs.logits,
    }
    if outputs.features is not None:
        tensors["features"] = _halved(outputs.features)
    if outputs.digests is not None:
        tensors["digests"] = outputs.digests
    if outputs.strangeness is not None:
        tensors["strangeness"] = outputs.strangeness
    return _write(outputs_file(folder, split), tensors)


def read_outputs(folder: Path, split: str) -> Outputs:
    """Read what a model said about a split from its run folder.

    Raises:
        RunError: if the run has no outputs of this split, or the file is damaged.
    """
    file = outputs_file(folder, split)
    tensors = _read(file, f"this run has no outputs of its {split} split; train again to get them")
    try:
        names = _names(tensors)
        features = _checked(tensors, "features", "f2 f4", (len(names), -1)) if "features" in tensors else None
        return Outputs(
            names,
            _checked(tensors, "labels", "i8", (len(names),)),
            _checked(tensors, "logits", "f4", (len(names), -1)),
            None if features is None else features.astype(np.float32, copy=False),
            _checked(tensors, "digests", "u8", (len(names),)) if "digests" in tensors else None,
            _checked(tensors, "strangeness", "f4", (len(names),)) if "strangeness" in tensors else None,
        )
    except (KeyError, ValueError):
        raise RunError(f"{file}: not outputs that firstlight wrote; the file is damaged") from None


def write_facts(folder: Path, facts: ImageFacts) -> Path:
    """Write `outputs/image_facts.safetensors` into a run folder, atomically, and return its path."""
    tensors: Tensors = {"sizes": facts.sizes, "brightness": facts.brightness}
    return _write(folder / OUTPUTS_FOLDER / FACTS_FILE, tensors | _packed("group", _name_bytes(facts.groups)))


def read_facts(folder: Path) -> ImageFacts:
    """Read the facts about the test images of a run.

    Raises:
        RunError: if the run has none, or the file is damaged.
    """
    file = folder / OUTPUTS_FOLDER / FACTS_FILE
    tensors = _read(file, "this run kept no facts about its pictures; train again to get them")
    try:
        groups = _texts("group", tensors)
        count = len(groups)
        return ImageFacts(
            _checked(tensors, "sizes", "i4", (count, 2)),
            _checked(tensors, "brightness", "f4", (count,)),
            groups,
        )
    except (KeyError, ValueError):
        raise RunError(f"{file}: not facts that firstlight wrote; the file is damaged") from None


def write_thumbnails(
    folder: Path,
    names: Sequence[str],
    images: Iterable[NDArray[np.uint8]],
    *,
    file: str = THUMBNAILS_FILE,
    lossless_side: int = MAX_LOSSLESS_SIDE,
) -> Path:
    """Write images of a run into its outputs, and return the path of the file.

    Small ones are kept to the last bit, as PNG; larger ones as JPEG.

    Args:
        folder: the run folder.
        names: of the images, m of them.
        images: uint8 `[H, W, C]` each, C = 1 or 3; they are taken one at a time.
        file: `THUMBNAILS_FILE` for the few that figures show, `SMALL_THUMBNAILS_FILE` for the many of the report.
        lossless_side: pixels; an image with no longer side is kept to the last bit.
    """
    files = [_encoded(image, lossless_side) for image in images]
    assert len(files) == len(names)
    tensors = _packed("name", _name_bytes(names)) | _packed("file", files)
    return _write(folder / OUTPUTS_FOLDER / file, tensors)


def read_thumbnails(folder: Path, file: str = THUMBNAILS_FILE) -> dict[str, NDArray[np.uint8]]:
    """Read images of a run, uint8 `[H, W, C]` each, by name.

    Args:
        folder: the run folder.
        file: as for `write_thumbnails`.

    Raises:
        RunError: if the run has none, or the file is damaged.
    """
    path = folder / OUTPUTS_FOLDER / file
    tensors = _read(path, "this run kept no pictures for figures; train again to get them")
    try:
        names = _names(tensors)
        if "images" in tensors:  # as earlier versions packed them
            images = list(_checked(tensors, "images", "u1", (len(names), -1, -1, -1)))
        else:
            images = [_decoded(data) for data in _unpacked("file", tensors)]
        return dict(zip(names, images, strict=True))
    except (KeyError, ValueError, OSError, SyntaxError):  # the last is what Pillow raises of a damaged PNG
        raise RunError(f"{path}: not pictures that firstlight wrote; the file is damaged") from None


def _encoded(image: NDArray[np.uint8], lossless_side: int) -> bytes:
    from PIL import Image

    assert image.dtype == np.uint8 and image.ndim == 3, (image.dtype, image.shape)
    small, file = max(image.shape[:2]) <= lossless_side, io.BytesIO()
    pixels = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    pixels.save(file, **({"format": "PNG"} if small else {"format": "JPEG", "quality": 92, "subsampling": 0}))
    return file.getvalue()


def _decoded(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    if max(image.size) > MAX_SIDE or image.mode not in ("L", "RGB"):
        raise ValueError(f"{image.mode} {image.size}")
    image.load()  # numpy would take an image that cannot be read for an object
    return np.asarray(image).reshape(image.height, image.width, -1)


def _halved(features: NDArray[np.float32]) -> NDArray[np.generic]:
    if np.abs(features, where=np.isfinite(features), out=np.zeros_like(features)).max(initial=0) > np.finfo("f2").max:
        return features
    return features.astype(np.float16)


def _name_bytes(names: Sequence[str]) -> list[bytes]:
    return [name.encode("utf-8", "surrogateescape") for name in names]  # any name a file can have comes back


def _names(tensors: Tensors) -> tuple[str, ...]:
    return _texts("name", tensors)


def _texts(key: str, tensors: Tensors) -> tuple[str, ...]:
    return tuple(text.decode("utf-8", "surrogateescape") for text in _unpacked(key, tensors))


def _packed(key: str, parts: Iterable[bytes]) -> Tensors:
    """Return parts as one array of their bytes, `<key>s`, and one of where each ends, `<key>_ends`."""
    packed, ends = bytearray(), []
    for part in parts:
        packed += part
        ends.append(len(packed))
    return {f"{key}s": np.frombuffer(packed, np.uint8), f"{key}_ends": np.array(ends, np.int64)}


def _unpacked(key: str, tensors: Tensors) -> list[bytes]:
    packed = _checked(tensors, f"{key}s", "u1", (-1,)).tobytes()
    ends = _checked(tensors, f"{key}_ends", "i8", (-1,)).tolist()
    starts = [0, *ends[:-1]]
    if any(end < start for start, end in zip(starts, ends, strict=False)) or (ends[-1] if ends else 0) != len(packed):
        raise ValueError(f"the ends of the {key}s are not in order")
    return [packed[start:end] for start, end in zip(starts, ends, strict=False)]


def _checked(tensors: Tensors, key: str, types: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a tensor that has one of these types and this shape, where -1 is any length."""
    tensor = tensors[key]
    same = tensor.ndim == len(shape) and all(want in (-1, has) for want, has in zip(shape, tensor.shape, strict=True))
    if not same or tensor.dtype not in [np.dtype(name) for name in types.split()]:
        raise ValueError(f"{key} is {tensor.dtype} {tensor.shape}")
    return tensor


def _write(file: Path, tensors: Tensors) -> Path:
    from safetensors.numpy import save_file

    file.parent.mkdir(exist_ok=True)
    with atomic_path(file) as temporary:
        whole = {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}
        save_file(whole, temporary, seal_of(whole))
    return file


def _read(file: Path, absent: str) -> Tensors:
    from safetensors import SafetensorError, safe_open

    try:
        open_regular(file).close()
        with safe_open(file, "numpy") as opened:
            tensors: Tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
            metadata = opened.metadata() or {}
    except FileNotFoundError:
        raise RunError(f"{file}: {absent}") from None
    except OSError as error:
        raise RunError(f"{file}: it cannot be read ({error.strerror})") from None
    except (SafetensorError, KeyError, ValueError, TypeError):
        raise RunError(f"{file}: not a file that firstlight wrote; it is damaged") from None
    require_tensor_seal(file, metadata, tensors, "restore it from a copy, or train again to get it")
    return tensors
