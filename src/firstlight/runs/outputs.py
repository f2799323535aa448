"""The outputs of a run: what its model said about each split, and thumbnails of the images that figures show.

Both lie in the run folder as `.safetensors`, so that figures and comparisons need neither the images nor the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import RunError
from firstlight.files import atomic_path
from firstlight.runs.folder import OUTPUTS_FOLDER

THUMBNAILS_FILE = "images.safetensors"
Tensors = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model said about a split.

    Attributes:
        names: of the images, n of them.
        labels: int64 `[n]`.
        logits: float32 `[n, K]`, before calibration.
        features: float32 `[n, D]`; None if they were not kept.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Hold the arrays to their shapes and types."""
        count = len(self.names)
        assert self.labels.dtype == np.int64 and self.labels.shape == (count,)
        assert self.logits.dtype == np.float32 and self.logits.ndim == 2 and len(self.logits) == count
        if self.features is not None:
            assert self.features.dtype == np.float32 and self.features.ndim == 2 and len(self.features) == count

    def __len__(self) -> int:
        return len(self.names)


def write_outputs(folder: Path, split: str, outputs: Outputs) -> Path:
    """Write `outputs/<split>.safetensors` into a run folder, atomically, and return its path.

    Features are kept as float16, unless one of them is too large for that.

    Args:
        folder: the run folder.
        split: `train`, `valid` or `test`.
        outputs: what the model said.
    """
    tensors: Tensors = {**_packed(outputs.names), "labels": outputs.labels, "logits": outputs.logits}
    if outputs.features is not None:
        tensors["features"] = _halved(outputs.features)
    return _write(folder, f"{split}.safetensors", tensors)


def read_outputs(folder: Path, split: str) -> Outputs:
    """Read what a model said about a split from its run folder.

    Raises:
        RunError: if the run has no outputs of this split, or the file is damaged.
    """
    file = folder / OUTPUTS_FOLDER / f"{split}.safetensors"
    tensors = _read(file, f"this run has no outputs of its {split} split; train again to get them")
    try:
        names = _unpacked(tensors)
        features = tensors.get("features")
        return Outputs(
            names,
            tensors["labels"].astype(np.int64, casting="no", copy=False),
            tensors["logits"].astype(np.float32, casting="no", copy=False),
            None if features is None else features.astype(np.float32, casting="same_kind", copy=False),
        )
    except (KeyError, TypeError, ValueError, AssertionError):
        raise RunError(f"{file}: not outputs that firstlight wrote; the file is damaged") from None


def write_thumbnails(folder: Path, names: Sequence[str], images: NDArray[np.uint8]) -> Path:
    """Write `outputs/images.safetensors`, the few images of a run that figures show, and return its path.

    Args:
        folder: the run folder.
        names: of the images, m of them.
        images: uint8 `[m, H, W, C]`, as packed.
    """
    assert images.dtype == np.uint8 and images.ndim == 4 and len(images) == len(names)
    return _write(folder, THUMBNAILS_FILE, {**_packed(names), "images": images})


def read_thumbnails(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Read the images that figures show, uint8 `[H, W, C]` each, by name.

    Raises:
        RunError: if the run has none, or the file is damaged.
    """
    file = folder / OUTPUTS_FOLDER / THUMBNAILS_FILE
    tensors = _read(file, "this run kept no pictures to show; train again to get them")
    try:
        names = _unpacked(tensors)
        images = tensors["images"].astype(np.uint8, casting="no", copy=False)
        if images.ndim != 4:
            raise ValueError
        return dict(zip(names, images, strict=True))
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{file}: not pictures that firstlight wrote; the file is damaged") from None


def _halved(features: NDArray[np.float32]) -> NDArray[np.generic]:
    if np.abs(features, where=np.isfinite(features), out=np.zeros_like(features)).max(initial=0) > np.finfo("f2").max:
        return features
    return features.astype(np.float16)


def _packed(names: Sequence[str]) -> Tensors:
    """Return names as one array of their bytes and one of where each ends; any name a file can have comes back."""
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
    return {"names": np.frombuffer(b"".join(encoded), np.uint8), "name_ends": ends}


def _unpacked(tensors: Tensors) -> tuple[str, ...]:
    packed = tensors["names"].astype(np.uint8, casting="no", copy=False).tobytes()
    ends = tensors["name_ends"].astype(np.int64, casting="no", copy=False)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
    if (ends < starts).any() or (starts < 0).any() or int(ends[-1] if len(ends) else 0) != len(packed):
        raise ValueError
    return tuple(
        packed[start:end].decode("utf-8", "surrogateescape")
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    )


def _write(folder: Path, name: str, tensors: Tensors) -> Path:
    from safetensors.numpy import save_file

    file = folder / OUTPUTS_FOLDER / name
    file.parent.mkdir(exist_ok=True)
    with atomic_path(file) as temporary:
        save_file({key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}, temporary)
    return file


def _read(file: Path, absent: str) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: Tensors = load_file(file)
    except FileNotFoundError:
        raise RunError(f"{file}: {absent}") from None
    except OSError as error:
        raise RunError(f"{file}: it cannot be read ({error.strerror})") from None
    except (SafetensorError, KeyError, ValueError, TypeError):
        raise RunError(f"{file}: not a file that firstlight wrote; it is damaged") from None
    return tensors
