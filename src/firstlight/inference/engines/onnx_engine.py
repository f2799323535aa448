"""`OnnxEngine`: runs an exported `.onnx` file in ONNX Runtime."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from firstlight.errors import UserError
from firstlight.inference.engines.answers import Answers

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUT, OUTPUTS = "images", ("probabilities", "logits", "features", "strangeness")


class OnnxEngine:
    """Runs an `.onnx` file that firstlight exported, on the processor.

    Args:
        file: the exported file, or its bytes.
        threads: that one call may use; by default as many as PyTorch.

    Raises:
        UserError: if ONNX Runtime is not installed.
    """

    name = "onnx"

    def __init__(self, file: Path | bytes, threads: int | None = None) -> None:
        self._session = session_of(file, threads or torch.get_num_threads())
        self._is_told = _can_tell(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, images: Tensor) -> Answers:
        """Return what the model says about images, uint8 `[B, C, H, W]`."""
        probabilities, logits, features, strangeness = self._run(OUTPUTS, images)
        return Answers(probabilities, logits, features, strangeness if self._is_told else None)

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits alone, float32 `[B, D]` and `[B, K]`."""
        features, logits = self._run(("features", "logits"), images)
        return features, logits

    def _run(self, outputs: Sequence[str], images: Tensor) -> list[Tensor]:
        pixels = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
        return [torch.from_numpy(found) for found in self._session.run(outputs, {INPUT: pixels})]


def session_of(file: Path | bytes, threads: int) -> "InferenceSession":
    """Return a session of ONNX Runtime that runs a file, given by its path or its bytes.

    Raises:
        UserError: if ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UserError("ONNX Runtime is not installed; pip install 'firstlight[export]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _can_tell(metadata: Mapping[str, str]) -> bool:
    """Return whether a model can tell strangers; a file without our metadata may, and gives NaN if it cannot."""
    if "firstlight" not in metadata:
        return True
    trust = json.loads(metadata["firstlight"])["trust"]
    return trust is not None and trust["strangeness_threshold"] is not None
