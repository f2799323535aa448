"""Files to predictions: the one inference path, for the command line, for Python and for whatever serves."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.images import SUFFIXES, decode, resize_image
from firstlight.data.parallel import chunks_of, in_order
from firstlight.data.sources.class_folders import is_ignored
from firstlight.errors import ImageError, RecipeError
from firstlight.models.classifier import Classifier
from firstlight.models.inference import ready
from firstlight.runtime.processors import default_workers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BATCH = 64
TOP = 5


@dataclass(frozen=True, slots=True)
class Guess:
    """A class and its calibrated probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one image; or, with `error` set, why it can say nothing."""

    image: str
    label: str | None = None
    probability: float | None = None
    top: tuple[Guess, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give `{image, label, probability, top[{label, probability}]}`, or `{image, error}`."""
        if self.error is not None:
            return {"image": self.image, "error": self.error}
        return {name: value for name, value in asdict(self).items() if name != "error"}


def predict(
    model: Classifier, images: str | Path | Iterable[str | Path], *, top: int = TOP
) -> Prediction | list[Prediction]:
    """Predict one image, or several, or every image below a folder.

    Args:
        model: from `load`; it is put in evaluation mode.
        images: a file (gives one `Prediction`), a folder, or several of either (give a list).
        top: how many classes to list, the most probable first.
    """
    if isinstance(images, str | Path) and not Path(images).is_dir():
        return next(predict_files(model, [str(images)], top=top))
    paths = [images] if isinstance(images, str | Path) else images
    return list(predict_files(model, find_files(str(path) for path in paths), top=top))


def view_classify(
    image: str | Path, model: Classifier, *, label: int | str | None = None, top: int = 10
) -> "tuple[Axes, Axes]":
    """Show an image file beside the probabilities that a model gives its classes; see `plots.view_classify`.

    Raises:
        ImageError: if the file cannot be used.
    """
    from firstlight.delivery import plots

    try:
        data = Path(image).read_bytes()
        original, resized = (
            decode(data, name=str(image)).pixels,
            _resized(data, str(image), model.input_size, model.resize),
        )
    except (ImageError, OSError) as error:
        raise ImageError(f"{image}: {error}") from None
    guesses = _guess(model.eval(), [resized], len(model.classes))[0]
    probability = {guess.label: guess.probability for guess in guesses}
    return plots.view_classify(
        original, [probability[name] for name in model.classes], model.classes, top=top, label=label
    )


def predict_files(
    model: Classifier, files: Iterable[str], *, top: int = TOP, workers: int | None = None
) -> Iterator[Prediction]:
    """Predict files in their order, at constant memory; one that cannot be used gives a row with its error.

    Args:
        model: on any device; it is put in evaluation mode.
        files: paths, read as they come.
        top: how many classes to list for each.
        workers: decoding threads.

    Raises:
        RecipeError: if `top` or `workers` is below 1.
    """
    for name, value in (("top", top), ("workers", workers or 1)):
        if value < 1:
            raise RecipeError(f"--{name} {value}: give a whole number from 1")
    model.eval()

    def read(chunk: Sequence[str]) -> list[tuple[str, NDArray[np.uint8] | str]]:
        return [(file, _read_image(file, model.input_size, model.resize)) for file in chunk]

    for chunk in in_order(read, chunks_of(BATCH, files), workers or default_workers()):
        images = [image for _, image in chunk if not isinstance(image, str)]
        guesses = iter(_guess(model, images, top) if images else [])
        for file, image in chunk:
            if isinstance(image, str):
                yield Prediction(file, error=image)
            else:
                best = next(guesses)
                yield Prediction(file, best[0].label, best[0].probability, best)


def find_files(paths: Iterable[str]) -> Iterator[str]:
    """Give files as they are, and for each folder the images below it, in the order of their names.

    Links inside a folder are not followed. A path that does not exist, or a folder that cannot be read, is given like
    a file: it will get a row with the reason.
    """
    for path in paths:
        if Path(path).is_dir():
            yield from _below(path)
        else:
            yield path


def _below(folder: str) -> Iterator[str]:
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
            yield from _below(entry.path)
        elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file(follow_symlinks=False):
            yield entry.path


def _read_image(file: str, input_size: tuple[int, int, int], resize: str) -> NDArray[np.uint8] | str:
    """Give the image at the model's size, or the reason why not."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - names that are no valid Unicode pass as they are
            return "is not a regular file"  # reading a pipe or a device might never end
        return _resized(Path(file).read_bytes(), file, input_size, resize)
    except ImageError as reason:
        return str(reason)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _resized(data: bytes, name: str, input_size: tuple[int, int, int], resize: str) -> NDArray[np.uint8]:
    return resize_image(decode(data, name=name, input_size=input_size, resize=resize).pixels, input_size, resize)


def _guess(model: Classifier, pixels: list[NDArray[np.uint8]], top: int) -> list[tuple[Guess, ...]]:
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(model.mean.device)
    with torch.inference_mode():
        ranked = ready(model).predict_proba(images).topk(min(top, len(model.classes)), dim=1)
    return [
        tuple(Guess(model.classes[index], probability) for index, probability in zip(*row, strict=True))
        for row in zip(ranked.indices.tolist(), ranked.values.tolist(), strict=True)
    ]
