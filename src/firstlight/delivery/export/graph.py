"""The graph that is exported: uint8 pixels in, all that a model says out, with everything in between inside."""

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from firstlight.delivery.export.chatter import no_chatter
from firstlight.errors import UserError
from firstlight.inference.engines.answers import answers_of
from firstlight.models.classifier import Classifier

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class Graph(nn.Module):
    """Map uint8 `[N, H, W, C]` to probabilities `[N, K]`, logits `[N, K]`, features `[N, D]` and strangeness `[N]`.

    All are float32. The strangeness of a model that cannot tell is NaN.

    Args:
        model: it is copied to the processor; the original stays as it is.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().eval()
        strangeness = self.model.trust.strangeness if self.model.trust else None
        self.strangeness = None if strangeness is None else strangeness.to("cpu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the model says about images, as the class says."""
        said = answers_of(self.model, self.strangeness, images.permute(0, 3, 1, 2))
        strangeness = torch.full_like(said.features[:, 0], torch.nan) if said.strangeness is None else said.strangeness
        return said.probabilities, said.logits, said.features, strangeness


def traced(model: Classifier) -> "ExportedProgram":
    """Return the graph of a model as `torch.export` sees it, for any number of images.

    Raises:
        UserError: if its network cannot be traced, with the reason.
    """
    channels, height, width = model.input_size
    examples = torch.zeros(2, height, width, channels, dtype=torch.uint8)
    try:
        with torch.no_grad(), no_chatter():
            return torch.export.export(
                Graph(model), (examples,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
            )
    except Exception as error:  # the code of a network stops the tracer, each in its own way
        raise unexportable(model, error) from error


def unexportable(model: Classifier, error: Exception) -> UserError:
    """Return the error about a network that an exporter does not know how to write."""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return UserError(f"the network {model.architecture['name']} cannot be exported: {reason}")
