"""Golden pictures: three files beside an export, with the probabilities that a right pipeline gets for them.

They are made of pictures that the run kept: a large one, for which resizing counts; one that is turned upright by its
EXIF orientation; and one that is transparent in part. Of several candidates, each is the one that shows most clearly
what can go wrong.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from firstlight.delivery.export.contract import contract_of
from firstlight.delivery.export.faults import UNCALIBRATED, faults_of, rounded_otherwise
from firstlight.errors import DataError
from firstlight.files import read_regular, write_json, write_text
from firstlight.inference.engines.answers import Answers, Engine
from firstlight.inference.inputs import Item, Target, read_item
from firstlight.models.classifier import Classifier

FORMAT = 1
SUFFIX = ".golden"  # of the folder: that of model.onnx is model.onnx.golden
EXPECTED_FILE, CONTRACT_FILE = "expected.json", "preprocess.md"
CANDIDATES = 6  # pictures from which each golden one is chosen
LEAST_TOLERANCE = 0.005  # of a probability
MARGIN = 3  # times what another way of rounding changes, for those of decoders
ORIENTATION, CLOCKWISE = 0x0112, 6  # the EXIF tag, and what says: turn it clockwise to see it upright
DIGITS = 6  # of a probability


@dataclass(frozen=True, eq=False, slots=True)
class GoldenImage:
    """One golden picture, and what is expected of it.

    Attributes:
        image: the name of its file.
        checks: what a pipeline does with it that other pictures do not need, in words.
        label: the most probable class.
        probabilities: of all classes, float64 `[K]`.
        if_wrong: for each fault of a pipeline that this picture shows, in words, the probabilities that it leads to.
    """

    image: str
    checks: str
    label: str
    probabilities: NDArray[np.float64]
    if_wrong: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False, slots=True)
class Golden:
    """The golden pictures of an export.

    Attributes:
        folder: where they are.
        classes: the K names.
        tolerance: how far a probability of a right pipeline may be from what is expected.
        images: three of them.
    """

    folder: Path
    classes: tuple[str, ...]
    tolerance: float
    images: tuple[GoldenImage, ...]


class _Maker(NamedTuple):
    """How a golden picture is made, what it checks, and the faults that it has to show, by words in their names."""

    make: Callable[[NDArray[np.uint8]], bytes]
    checks: str
    shows: tuple[str, ...]


def golden_folder(file: Path) -> Path:
    """Return where the golden pictures of an exported file are."""
    return file.with_name(file.name + SUFFIX)


def write_golden(file: Path, model: Classifier, engine: Engine, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    """Write golden pictures and the contract of preprocessing into a folder beside an exported file, and return it.

    Args:
        file: the exported file.
        model: from which it was exported.
        engine: which runs the file.
        pictures: real ones, uint8 `[H, W, C]` of the network's size; at least one.
    """
    folder = golden_folder(file)
    folder.mkdir(exist_ok=True)
    candidates = pictures[:: max(1, len(pictures) // CANDIDATES)][:CANDIDATES]
    chosen = {}
    for name, maker in _MAKERS.items():
        files = [maker.make(picture) for picture in candidates]
        clarity = [_clarity(data, maker.shows, model, engine) for data in files]
        chosen[name] = files[clarity.index(max(clarity))]
        (folder / name).write_bytes(chosen[name])
    tolerance = max(_tolerance(data, model, engine) for data in chosen.values())
    images = [
        {"image": name, "checks": _MAKERS[name].checks, **_expected(data, model, engine, tolerance)}
        for name, data in chosen.items()
    ]
    fields = {"format": FORMAT, "file": file.name, "classes": model.classes, "tolerance": tolerance, "images": images}
    write_json(folder / EXPECTED_FILE, fields)
    text = contract_of(model, file.name, folder.name, tolerance=tolerance, pictures=len(images))
    write_text(folder / CONTRACT_FILE, text)
    return folder


def read_golden(folder: Path) -> Golden:
    """Return the golden pictures of a folder.

    Raises:
        DataError: if there are none, or `expected.json` is damaged.
    """
    file = folder / EXPECTED_FILE
    try:
        fields = json.loads(read_regular(file))
        classes = tuple(fields["classes"])
        images = tuple(
            GoldenImage(
                Path(str(one["image"])).name,
                str(one["checks"]),
                str(one["label"]),
                _row(one["probabilities"], len(classes)),
                {str(words): _row(row, len(classes)) for words, row in one["if_wrong"].items()},
            )
            for one in fields["images"]
        )
        return Golden(folder, classes, float(fields["tolerance"]), images)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); give the folder that export wrote") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(f"{file}: not what export wrote; export the model again") from None


def large(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture amid its own mirror images, twice as high and 1.6 times as wide, as the bytes of a JPEG."""
    above, before = (round(side * share) for side, share in zip(picture.shape[:2], (0.5, 0.3), strict=True))
    return _jpeg(np.pad(picture, ((above, above), (before, before), (0, 0)), mode="symmetric"))


def turned(picture: NDArray[np.uint8]) -> bytes:
    """Return most of a picture lying on its side, as the bytes of a JPEG whose EXIF orientation turns it upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = CLOCKWISE
    return _jpeg(np.rot90(picture[:, picture.shape[1] // 10 :]), exif=exif)


def transparent(picture: NDArray[np.uint8]) -> bytes:
    """Return most of a picture, more transparent the farther to the right, as the bytes of a PNG."""
    height, width, channels = picture.shape
    part = picture[: height - height // 8]
    alpha = np.broadcast_to(np.linspace(255, 0, width).round().astype(np.uint8), part.shape[:2])
    bands = [Image.fromarray(np.ascontiguousarray(band)) for band in (*part.transpose(2, 0, 1), alpha)]
    file = io.BytesIO()
    Image.merge("LA" if channels == 1 else "RGBA", bands).save(file, "PNG")
    return file.getvalue()


_MAKERS = {
    "large.jpg": _Maker(large, "colors, and how it is resized", ("BGR", "antialias")),
    "turned.jpg": _Maker(turned, "its EXIF orientation", ("EXIF",)),
    "transparent.png": _Maker(transparent, "its transparency", ("transparent",)),
}


def _clarity(file: bytes, shows: tuple[str, ...], model: Classifier, engine: Engine) -> float:
    """Return how clear the faults are that a picture has to show: what each changes at least, in tolerances."""
    wrong = [pixels for words, pixels in faults_of(file, model) if any(word in words for word in shows)]
    right, *others = _answers([_prepared(file, model), *wrong], engine).probabilities
    return min(float((other - right).abs().max()) for other in others) / _tolerance(file, model, engine)


def _tolerance(file: bytes, model: Classifier, engine: Engine) -> float:
    """Return how far a probability may be off for a picture: a few times what another way of rounding changes."""
    right, other = _answers([_prepared(file, model), rounded_otherwise(file, model)], engine).probabilities
    return round(max(LEAST_TOLERANCE, MARGIN * float((right - other).abs().max())), 3)


def _expected(file: bytes, model: Classifier, engine: Engine, tolerance: float) -> dict[str, Any]:
    """Return what is expected of a file, and what faults lead to, as `expected.json` has it."""
    faults = dict(faults_of(file, model))
    answers = _answers([_prepared(file, model), *faults.values()], engine)
    right, *wrong = answers.probabilities.double()
    found = dict(zip(faults, wrong, strict=True)) | {UNCALIBRATED: answers.logits[0].double().softmax(dim=0)}
    return {
        "label": model.classes[int(right.argmax())],
        "probabilities": _rounded(right),
        "if_wrong": {w: _rounded(row) for w, row in found.items() if float((row - right).abs().max()) > tolerance},
    }


def _prepared(file: bytes, model: Classifier) -> NDArray[np.uint8]:
    pixels = read_item(Item(file), Target(model.input_size, model.resize, model.max_pixels, model.white))
    assert not isinstance(pixels, str), pixels
    return pixels


def _answers(pixels: list[NDArray[np.uint8]], engine: Engine) -> Answers:
    return engine(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))


def _jpeg(pixels: NDArray[np.uint8], **more: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    image.save(file, "JPEG", quality=90, subsampling=0, **more)  # of which all decoders make nearly the same pixels
    return file.getvalue()


def _rounded(row: torch.Tensor) -> list[float]:
    return [round(one, DIGITS) for one in row.tolist()]


def _row(values: Any, count: int) -> NDArray[np.float64]:
    row = np.asarray(values, np.float64)
    if row.shape != (count,):
        raise ValueError(row.shape)
    return row
