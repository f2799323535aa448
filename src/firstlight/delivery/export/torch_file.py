"""The `.pt2` file of `torch.export`: the graph for PyTorch, with its metadata beside it."""

import io
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from firstlight.delivery.export.chatter import no_chatter
from firstlight.inference.engines.answers import Answers

if TYPE_CHECKING:
    from torch.export import ExportedProgram

METADATA_FILE = "firstlight.json"


def program_file(program: "ExportedProgram", text: str = "{}") -> bytes:
    """Return a traced model as the bytes of a `.pt2` file, with metadata in it."""
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    file = io.BytesIO()
    with no_chatter():
        torch.export.save(program, file, extra_files={METADATA_FILE: text})
    return file.getvalue()


class ProgramEngine:
    """Runs a `.pt2` file that firstlight exported, on the processor.

    Args:
        content: the bytes of the file.

    Attributes:
        metadata: of the file, by the name of the file in it.
    """

    name = "torch.export"

    def __init__(self, content: bytes) -> None:
        self.metadata = {METADATA_FILE: ""}
        with no_chatter():
            self._run = torch.export.load(io.BytesIO(content), extra_files=self.metadata).module()

    def __call__(self, images: Tensor) -> Answers:
        """Return what the model says about images, uint8 `[B, C, H, W]`."""
        with torch.inference_mode():
            return Answers(*self._run(images.permute(0, 2, 3, 1).contiguous()))

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits alone, float32 `[B, D]` and `[B, K]`."""
        said = self(images)
        return said.features, said.logits
