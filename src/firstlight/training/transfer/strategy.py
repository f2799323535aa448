"""Which of the four cases of transfer learning a set is in, told from what was measured.

Few or many images: whether the last doubling of the training images still took much of the linear head's log
loss. Near to or far from what the network has seen: how sure the network's own, original answers are about them.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firstlight.models.library_network import LibraryNetwork
from firstlight.models.weights import load_state_dict_file
from firstlight.training.transfer.features import Features
from firstlight.training.transfer.learning_curve import LearningCurve

FEW_DROP = 0.05  # of the log loss, by the last doubling; more means that more images would help
NEAR_CONFIDENCE = 0.4  # mean highest probability: of photographs 0.5 and more, of digits and thumbnails 0.3 (LOG.md)

ADVICE = {
    ("few", "near"): "start from the linear head; fine-tune gently, and keep only what validates better (--ladder)",
    ("many", "near"): "fine-tune all layers, gently, from the linear head on (--ladder)",
    ("few", "far"): "more pictures help most; fine-tune with strong augmentation, and keep what validates better",
    ("many", "far"): "fine-tune all layers (--finetune all); a network trained from scratch may do as well",
    ("few", "unknown"): "more pictures help most; fine-tune, and keep only what validates better (--ladder)",
    ("many", "unknown"): "fine-tune all layers, from the linear head on (--ladder)",
}


@dataclass(frozen=True)
class Case:
    """One of the four cases, and what it was told from.

    Attributes:
        images: `few` or `many`.
        domain: `near`, `far`, or `unknown` where the weights came without answers of their own.
        drop: share of the log loss that the second half of the training images took away.
        confidence: mean highest probability of the network's own classes on the validation images, 0..1.
    """

    images: str
    domain: str
    drop: float
    confidence: float | None

    @property
    def advice(self) -> str:
        """What usually pays in this case."""
        return ADVICE[self.images, self.domain]

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` shows."""
        return {**asdict(self), "advice": self.advice}

    def __str__(self) -> str:
        sure = "" if self.confidence is None else f"; the backbone's own classes get {self.confidence:.0%} confidence"
        nearness = {"near": "near to", "far": "far from", "unknown": "unknown distance to"}[self.domain]
        return (
            f"{self.images} pictures, {nearness} what the backbone has seen "
            f"(the second half of them took {self.drop:.0%} of the log loss{sure}): {self.advice}"
        )


def tell_case(confidence: float | None, curve: LearningCurve) -> Case:
    """Tell the case from the confidence of the network's own answers and the last step of the learning curve."""
    images = "few" if curve.last_drop > FEW_DROP else "many"
    domain = "unknown" if confidence is None else "near" if confidence >= NEAR_CONFIDENCE else "far"
    return Case(images, domain, round(curve.last_drop, 4), confidence)


def own_confidence(network: LibraryNetwork, path: Path, features: Features) -> float | None:
    """Tell how sure the network's own head is about images: the mean of its highest probabilities, 0..1.

    Args:
        probe: says where the head was, and how many features it takes.
        path: the pretrained weights.
        features: float32 `[n, D]`.

    Returns:
        None where the file holds no such head, or one of fewer than 100 classes.
    """
    state = load_state_dict_file(path)
    ends = f".{network.replaced}.weight"
    heads = (name.removesuffix(".weight") for name in state if f".{name}".endswith(ends))
    head = min(heads, key=len, default="")  # longer names are of auxiliary heads, or of layers inside
    weight, bias = state.get(f"{head}.weight"), state.get(f"{head}.bias")
    if weight is None or bias is None or len(weight) < 100 or weight[0].numel() != features.shape[1]:
        return None
    logits = torch.from_numpy(np.array(features)) @ weight.flatten(1).float().T + bias.float()
    return round(logits.softmax(dim=1).amax(dim=1).mean().item(), 4)
