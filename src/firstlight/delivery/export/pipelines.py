"""Pipelines that a file holds: an exported model with our own preprocessing, or the answers of somebody else's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from firstlight.delivery.export.metadata import KEY
from firstlight.delivery.export.torch_file import METADATA_FILE, ProgramEngine
from firstlight.errors import DataError, ModelFileError, UserError
from firstlight.inference.engines.onnx_engine import OnnxEngine
from firstlight.inference.inputs import Item, Target, read_item
from firstlight.white import White

if TYPE_CHECKING:
    from firstlight.inference.engines.answers import Engine


def pipeline_in(file: Path, classes: tuple[str, ...]) -> Any:
    """Return the pipeline in a file: answers as JSON, or a function that takes the path of a picture and answers it.

    Raises:
        UserError: if it cannot be read, is neither such answers nor an exported model, or has other classes.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check the path") from None
    if file.suffix == ".json":
        try:
            return json.loads(content)
        except ValueError:
            raise DataError(f"{file} is not JSON; write the probabilities of each golden picture there") from None
    engine, target, answered = _opened(file, content)
    if answered != classes:
        raise DataError(f"{file} has other classes than the golden pictures; give those of its own export")
    return _answering(engine, target)


def _opened(file: Path, content: bytes) -> "tuple[Engine, Target, tuple[str, ...]]":
    """Return what runs an exported model, how its images are prepared, and its classes."""
    if file.suffix not in (".onnx", ".pt2"):
        raise DataError(f"{file} is neither an exported model (.onnx or .pt2) nor a .json file of probabilities")
    try:
        engine: OnnxEngine | ProgramEngine = ProgramEngine(content) if file.suffix == ".pt2" else OnnxEngine(content)
        about = json.loads(engine.metadata[METADATA_FILE if file.suffix == ".pt2" else KEY])
        target = Target(tuple(about["input_size"]), about["resize"], about["max_pixels"], White(**about["white"]))
    except Exception as error:  # runtimes fail on damaged files in many ways
        if isinstance(error, UserError) and not isinstance(error, ModelFileError):  # such as a runtime that is missing
            raise
        raise DataError(f"{file}: not a model that firstlight exported, or damaged; export it again") from error
    return engine, target, tuple(about["classes"])


def _answering(engine: "Engine", target: Target) -> Callable[[Path], Tensor]:
    def answer(picture: Path) -> Tensor:
        pixels = read_item(Item(str(picture)), target)
        if isinstance(pixels, str):
            raise DataError(f"{picture}: {pixels}")
        return engine(torch.from_numpy(pixels).permute(2, 0, 1)[None]).probabilities[0]

    return answer
