"""`Explainer`: heatmaps of one classifier, by the method that suits its network; `heatmap` makes one."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from firstlight.choices import did_you_mean
from firstlight.errors import RecipeError, require_type
from firstlight.escaping import escape_name
from firstlight.inference.heatmaps import activation, attention, layers, occlusion
from firstlight.models.classifier import Classifier

METHODS = ("auto", "gradcam", "layercam", "attention", "occlusion")
CAMS = {"gradcam": activation.grad_cam, "layercam": activation.layer_cam}
FEWEST_CELLS = 4  # a side; with fewer, Grad-CAM points at the wrong place (LOG.md)
ATTENTION_NUMBERS = 2**26  # of attention that are kept at once


class Explainer:
    """Makes heatmaps of one classifier: where in an image its network finds evidence for a class.

    It shares the weights of the classifier, but has layers of its own: the classifier gets no hooks and keeps its
    modes, and several threads may use both at once. Of a classifier that averages over views (`tta`), the image as it
    is is explained.

    Args:
        model: on any device.
        method: `gradcam` or `layercam`, for networks that keep places up to their last layers; `attention`, for vision
            transformers; `occlusion`, for any network, by covering parts of the image, which takes about 200 passes.
            `auto` is Grad-CAM, attention or occlusion, the first that the network allows; LayerCAM where the last layer
            that keeps places has so few cells that Grad-CAM points at the wrong one.
        layer: which layer the two CAMs look at, by its name in `model.network`. By default it is the last that keeps
            places, for LayerCAM the last that has at least `FEWEST_CELLS` a side.

    Attributes:
        method: that is used; never `auto`.

    Raises:
        RecipeError: if there is no such method or layer, or the network does not allow it.
    """

    def __init__(self, model: Classifier, method: str = "auto", *, layer: str | None = None) -> None:
        require_type(model, Classifier, "model", "a Classifier, such as fl.load returns")
        require_type(method, str, "method", f"one of {', '.join(METHODS)}")
        if method not in METHODS:
            advice = f"choose {', '.join(METHODS)}{did_you_mean(method, METHODS)}"
            raise RecipeError(advice, field="method", value=method)
        self.model = layers.private_copy(model)
        network = self.model.network
        attention.show_attention(network)
        black = torch.zeros(1, *model.input_size, dtype=torch.uint8, device=model.mean.device)
        with torch.inference_mode(False):
            outputs = layers.outputs_of(network, self.model.normalize(black))
        self.tokens = attention.tokens_of(network, outputs)
        last = layers.last_spatial(outputs)
        fine = layers.last_spatial(outputs, FEWEST_CELLS) or last
        if method == "auto":
            cam = "gradcam" if layer or last == fine else "layercam"
            method = cam if layer or last else "attention" if self.tokens else "occlusion"
        self.method = method
        self.layer = layer or (fine if method == "layercam" else last)
        self._watch([output.layer for output in outputs])

    def __call__(self, images: Tensor, classes: Tensor) -> Tensor:
        """Return a heatmap for each image, float32 `[B, H, W]` on the same device.

        The largest value of each is 1. If nothing in the image speaks for the class, all are 0.

        Args:
            images: uint8 `[B, C, H, W]` of the model's size.
            classes: int64 `[B]`, the class that each heatmap is for.
        """
        with torch.inference_mode(False), torch.no_grad():
            normalized = self.model.normalize(images)
            found = self._cells(normalized, classes.to(images.device, copy=True)).float()
            whole = functional.interpolate(found[:, None], size=images.shape[2:], mode="bilinear")[:, 0]
            highest = whole.amax(dim=(1, 2), keepdim=True)
            return torch.where(highest > 0, whole / highest, 0)

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the calibrated probabilities of all classes, float32 `[B, K]`, as the classifier would.

        They are NaN for an image whose logits are not finite: it has no answer.
        """
        with torch.inference_mode():
            logits = self.model(images)
            finite = logits.isfinite().all(dim=1, keepdim=True)
            return torch.where(finite, self.model.calibrated(logits), torch.nan)

    def _cells(self, images: Tensor, classes: Tensor) -> Tensor:
        network = self.model.network
        if self.method == "occlusion":
            return occlusion.occlusion(network, images, classes)
        if self.method == "attention":
            assert self.tokens is not None
            count = self.tokens.prefix + self.tokens.grid[0] * self.tokens.grid[1]
            at_once = max(1, ATTENTION_NUMBERS // (len(self.tokens.layers) * count**2))
            parts = zip(torch.split(images, at_once), torch.split(classes, at_once), strict=True)
            return torch.cat([attention.attention_map(network, self.tokens, *part) for part in parts])
        return CAMS[self.method](*activation.activations_and_gradients(network, images, classes))

    def _watch(self, names: list[str]) -> None:
        kind = self.model.architecture.get("name")
        if self.method in CAMS:
            if self.layer is None:
                raise self._impossible(f"{kind} has no layer that keeps places up to its end")
            if self.layer not in names:
                raise RecipeError(f"{kind} has no such layer", field="layer", value=self.layer)
            layers.watch([self.model.network.get_submodule(self.layer)], cut=True)
        elif self.method == "attention":
            if self.tokens is None:
                raise self._impossible(f"{kind} has no attention that can be looked at")
            layers.watch(map(self.model.network.get_submodule, self.tokens.layers), cut=False)

    def _impossible(self, why: str) -> RecipeError:
        return RecipeError(f"{why}; choose occlusion, which works for every network", field="method", value=self.method)


def heatmap(model: Classifier, pixels: NDArray[np.uint8], class_: int | str, method: str = "auto") -> NDArray[Any]:
    """Return where an image speaks for a class, float32 `[H, W]`, from 0 to 1; see `Explainer`.

    For many images, make one `Explainer`.

    Args:
        model: on any device.
        pixels: uint8 `[H, W, C]` of the model's size.
        class_: by number or by name.
        method: see `Explainer`.

    Raises:
        RecipeError: if there is no such class or method, or the network does not allow the method.
    """
    index = class_index(model, class_)
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].to(model.mean.device)
    found: NDArray[Any] = Explainer(model, method)(images, torch.tensor([index]))[0].cpu().numpy()
    return found


def class_index(model: Classifier, class_: int | str) -> int:
    """Return the number of a class that is given by number or by name.

    Raises:
        RecipeError: if there is no such class; it suggests one.
    """
    if isinstance(class_, str) and class_ in model.classes:
        return model.classes.index(class_)
    if isinstance(class_, int) and 0 <= class_ < len(model.classes):
        return class_
    known = ", ".join(map(escape_name, model.classes[:10])) + (", ..." if len(model.classes) > 10 else "")
    meant = did_you_mean(class_, model.classes) if isinstance(class_, str) else ""
    raise RecipeError(f"the model has no such class; it knows {known}{meant}", field="class", value=class_)
