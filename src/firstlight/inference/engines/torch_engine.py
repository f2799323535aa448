"""`TorchEngine`: runs a model in PyTorch, from an optimized copy."""

import torch
from torch import Tensor

from firstlight.inference.engines.answers import Answers, answers_of
from firstlight.inference.engines.rows import SteadyLinear
from firstlight.inference.optimized import optimized
from firstlight.models.classifier import Classifier
from firstlight.runtime.halving import in_halves


class TorchEngine:
    """Runs an optimized copy of a model: what happens to the original afterwards changes no answer.

    Args:
        model: on any device; it runs there.
    """

    name = "torch"

    def __init__(self, model: Classifier) -> None:
        self.model = optimized(model)
        if model.mean.device.type == "cpu":
            self.model.network.head = SteadyLinear.of(self.model.network.head)
        strange = model.trust.strangeness if model.trust else None
        self._strangeness = None if strange is None else strange.to(model.mean.device)

    def __call__(self, images: Tensor) -> Answers:
        """Return what the model says about images, uint8 `[B, C, H, W]`."""
        with torch.inference_mode():
            columns = in_halves(self._answers_of, images.to(self.model.mean.device))
        return Answers(*columns)  # type: ignore[arg-type]  # only the last may be None

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits alone, float32 `[B, D]` and `[B, K]`."""
        with torch.inference_mode():
            features, logits = in_halves(self.model.features_and_logits, images.to(self.model.mean.device))
        assert features is not None and logits is not None
        return features, logits

    def _answers_of(self, images: Tensor) -> Answers:
        return answers_of(self.model, self._strangeness, images)
