"""Heatmaps as PNG files, drawn on request."""

from functools import cached_property
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstlight.delivery.explain import overlays
from firstlight.inference.heatmaps.explainer import Explainer
from firstlight.models.classifier import Classifier

FAST = 1  # level of compression; the network is not what takes time


class Heatmaps:
    """Draws heatmaps of one model, which is prepared for that when the first is drawn; one thread at a time.

    Args:
        model: on any device.
    """

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def draw(self, picture: NDArray[np.uint8], class_: int | None) -> bytes:
        """Return a PNG file: a picture in gray, with the heatmap for a class over it.

        Args:
            picture: uint8 `[h, w, C]`, whole.
            class_: by number; None for the most probable one.
        """
        [drawn] = overlays(self._explainer, [picture], [class_])
        file = BytesIO()
        Image.fromarray(drawn).save(file, "PNG", compress_level=FAST)
        return file.getvalue()

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.model)
