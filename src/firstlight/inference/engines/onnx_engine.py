"""`OnnxEngine`: runs an exported `.onnx` file in ONNX Runtime."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from firstlight.errors import ModelFileError, UserError
from firstlight.files import read_regular
from firstlight.inference.engines.answers import Answers
from firstlight.inference.optimized import MAX_PIXELS_AT_ONCE

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUT, OUTPUTS = "images", ("probabilities", "logits", "features", "strangeness")
ONLY_FATAL = 4  # ONNX Runtime's level of messages on stderr; what goes wrong is raised as well


class OnnxEngine:
    """Runs an `.onnx` file that firstlight exported, on the processor. It can be pickled, and threads may share it.

    Args:
        file: the exported file, or its bytes. What happens to the file afterwards changes no answer.
        threads: that one call may use; by default as many as PyTorch.

    Attributes:
        metadata: of the file, by key.

    Raises:
        UserError: if ONNX Runtime is not installed.
        ModelFileError: if it cannot run the file.
    """

    name = "onnx"

    def __init__(self, file: Path | bytes, threads: int | None = None) -> None:
        self._content = file if isinstance(file, bytes) else _content_of(file)
        self._threads = threads or torch.get_num_threads()
        self._open()

    def __call__(self, images: Tensor) -> Answers:
        """Return what the model says about images, uint8 `[B, C, H, W]`."""
        probabilities, logits, features, strangeness = self._run(OUTPUTS, images)
        return Answers(probabilities, logits, features, strangeness if self._can_tell else None)

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits alone, float32 `[B, D]` and `[B, K]`."""
        features, logits = self._run(("features", "logits"), images)
        return features, logits

    def __getstate__(self) -> dict[str, Any]:
        return {"_content": self._content, "_threads": self._threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def _open(self) -> None:
        self._session = session_of(self._content, self._threads)
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._can_tell = _can_tell(self.metadata)
        sides = self._session.get_inputs()[0].shape[1:3]
        pixels = math.prod(side for side in sides if isinstance(side, int))
        self._images_at_once = max(1, MAX_PIXELS_AT_ONCE // pixels)

    def _run(self, outputs: Sequence[str], images: Tensor) -> list[Tensor]:
        pixels = images.cpu().permute(0, 2, 3, 1).contiguous()
        parts = [
            self._session.run(outputs, {INPUT: part.numpy()}) for part in torch.split(pixels, self._images_at_once)
        ]
        columns = [[torch.from_numpy(found) for found in column] for column in zip(*parts, strict=True)]
        return [column[0] if len(column) == 1 else torch.cat(column) for column in columns]


def session_of(content: bytes, threads: int) -> "InferenceSession":
    """Return a session of ONNX Runtime that runs a file, given as its bytes; it writes nothing to stderr.

    Raises:
        UserError: if ONNX Runtime is not installed.
        ModelFileError: if it cannot run the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UserError("ONNX Runtime is not installed; pip install 'firstlight[export]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ONLY_FATAL
    # Threads that wait for each other within a call stay awake, and sleep as soon as it ends: others decode then.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own kinds of error have no base but this
        reason = str(error).splitlines()[0].rpartition(" : ")[2]
        raise ModelFileError(f"ONNX Runtime cannot run the exported model: {reason}; export it again") from error


def _content_of(file: Path) -> bytes:
    try:
        return read_regular(file)
    except OSError as error:
        raise ModelFileError(f"{file}: it cannot be read ({error.strerror})") from None


def _can_tell(metadata: Mapping[str, str]) -> bool:
    """Return whether a model can tell strangers; a file without our metadata may, and gives NaN if it cannot."""
    if "firstlight" not in metadata:
        return True
    trust = json.loads(metadata["firstlight"])["trust"]
    return trust is not None and trust["strangeness_threshold"] is not None
