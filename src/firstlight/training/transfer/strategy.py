"""Advice on transfer learning, from the number of images and how similar they are to those of the pretraining.

Few or many images: whether doubling the training images still lowered the log loss of the linear head by much. Near to
or far from the images that the backbone was trained on: how confident its own, original head is about them.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from firstlight.evaluation.intervals import Estimate
from firstlight.models.libraries import State
from firstlight.models.library_network import LibraryNetwork
from firstlight.runs.record import LearningCurve
from firstlight.training.transfer.features import Features

FEW_DROP = 0.05  # of the log loss, by the last doubling of the images; above it, more images would help
NEAR_CONFIDENCE = 0.4  # mean highest probability: 0.5 and more for photographs, 0.3 for digits and thumbnails (LOG.md)
MIN_PUBLISHED_CLASSES = 100  # a head of fewer classes says too little about how near the images are

ADVICE = {
    ("few", "near"): "start from the linear head, fine-tune gently, and keep only what does better (`ladder`)",
    ("many", "near"): "fine-tune all layers gently, starting from the linear head (`ladder`)",
    ("few", "far"): "more pictures help most; fine-tune with strong augmentation, and keep what does better",
    ("many", "far"): "fine-tune all layers (set `finetune` to all); a network trained from scratch may do just as well",
    ("few", "unknown"): "more pictures help most; fine-tune, and keep only what does better (`ladder`)",
    ("many", "unknown"): "fine-tune all layers, starting from the linear head (`ladder`)",
}

# Once it has been fine-tuned.
ADVICE_AFTERWARDS = {
    "few": "more pictures help most",
    "many": "a larger network may do better (set `model` to best)",
}

MIN_ERROR = 0.03  # of the validation images; below it, fine-tuning has little to gain
MIN_IMAGES = 100  # to train on; with fewer, validation is too small to tell whether fine-tuning gained anything
GAIN = "1 to 7 points"  # on clothing10, with two networks (LOG.md)
LADDER_PASSES = 30.0  # what the ladder takes, in passes of the frozen network over the training images (LOG.md)


@dataclass(frozen=True)
class Case:
    """One of the four cases, and the measurements behind it.

    Attributes:
        images: `few` or `many`.
        domain: `near`, `far`, or `unknown` where the weights came without a head of their own.
        drop: by which fraction the second half of the training images lowered the log loss.
        confidence: mean highest probability of the backbone's own classes on the validation images, 0 to 1.
        fine_tuned: whether the network was fine-tuned already.
    """

    images: str
    domain: str
    drop: float
    confidence: float | None
    fine_tuned: bool = False

    @property
    def advice(self) -> str:
        """What usually pays in this case; choices are named between backticks."""
        return ADVICE_AFTERWARDS[self.images] if self.fine_tuned else ADVICE[self.images, self.domain]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the advice among them."""
        return {**asdict(self), "advice": self.advice}


def decide_case(confidence: float | None, curve: LearningCurve, *, num_images: int, fine_tuned: bool = False) -> Case:
    """Return the case, from the confidence of the backbone's own head and the last step of the learning curve.

    With fewer than 100 training images, the curve is mostly noise, and they are few whatever it says.
    """
    images = "few" if curve.last_drop > FEW_DROP or num_images < MIN_IMAGES else "many"
    domain = "unknown" if confidence is None else "near" if confidence >= NEAR_CONFIDENCE else "far"
    return Case(images, domain, round(curve.last_drop, 4), confidence, fine_tuned)


def next_step(accuracy: Estimate, images: int, seconds_of_a_pass: float) -> str:
    """Return what to do after solving for the linear head, with what it gained elsewhere and takes; empty if nothing.

    Args:
        accuracy: of the linear head, on the validation images.
        images: the number of training images.
        seconds_of_a_pass: what the frozen network takes for all training images on this machine.
    """
    if 1 - accuracy.value < MIN_ERROR or images < MIN_IMAGES:
        return ""
    took = duration_words(LADDER_PASSES * seconds_of_a_pass)
    return f"fine-tuning gained {GAIN} of accuracy on sets like this: add `ladder` ({took})"


def duration_words(seconds: float) -> str:
    """Return an estimated time as a person would say it."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return "about a minute" if minutes == 1 else f"about {minutes} minutes"
    return f"about {round(minutes / 60)} hours"


def own_confidence(network: LibraryNetwork, state: State, features: Features) -> float | None:
    """Return how confident the backbone's own head is about images: the mean of its highest probabilities, 0 to 1.

    Args:
        network: knows where in the body that head was.
        state: the pretrained weights, as the file names them.
        features: float32 `[n, D]`.

    Returns:
        None where they hold no such head, or one of fewer than 100 classes.
    """
    ends = f".{network.replaced}.weight"
    heads = (name.removesuffix(".weight") for name in state if f".{name}".endswith(ends))
    head = min(heads, key=len, default="")  # longer names are of auxiliary heads, or of layers inside
    weight, bias = state.get(f"{head}.weight"), state.get(f"{head}.bias")
    if weight is None or bias is None or weight[0].numel() != features.shape[1]:
        return None
    if len(weight) < MIN_PUBLISHED_CLASSES:
        return None
    logits = torch.from_numpy(np.array(features)) @ weight.flatten(1).float().T + bias.float()
    return round(logits.softmax(dim=1).amax(dim=1).mean().item(), 4)
