"""What every network is: features of images, and a linear head that turns features into logits."""

from typing import Self

from torch import Tensor, nn


class Network(nn.Module):
    """A network up to its features, then a linear head. Subclasses set `head` and define `features`."""

    head: nn.Linear

    @property
    def num_features(self) -> int:
        """The number of features of one image, D."""
        return self.head.in_features

    def features(self, images: Tensor) -> Tensor:
        """Map normalized float `[B, C, H, W]` to features, float `[B, D]`."""
        raise NotImplementedError

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalized float `[B, C, H, W]` to features `[B, D]` and logits `[B, K]`, in one pass."""
        features = self.features(images)
        return features, self.head(features)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized float `[B, C, H, W]` to logits `[B, K]`."""
        return self.features_and_logits(images)[1]

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the layers that learn; frozen layers stay in evaluation mode and keep their statistics."""
        super().train(mode)
        for layer in self.modules():
            weights = list(layer.parameters())
            if weights and not any(one.requires_grad for one in weights):
                for part in layer.modules():  # note: not layer.eval(), which has no end where the layer is this network
                    part.training = False
        return self
