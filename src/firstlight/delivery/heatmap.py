"""`Heatmap`: where in an image a model finds evidence for a class, over the whole picture; `Heatmaps` of several."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.overlay import on_picture, overlay
from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.resize import Part
from firstlight.tables import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 10  # of several heatmaps, in a notebook
CAPTIONS = {
    "gradcam": "Red: where Grad-CAM finds evidence for {}.",
    "layercam": "Red: where LayerCAM finds evidence for {}.",
    "attention": "Red: where the attention goes that raises the score of {}.",
    "occlusion": "Red: covering this part lowers the score of {} most.",
}
NOTHING = "Nothing in this picture speaks for {}, as far as this method can tell."
DOES_NOT_PROVE = (
    "It shows where, coarsely, and not what the network sees there or why; it does not prove that the answer is right."
)


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where in an image a model finds evidence for a class; or, with `error` set, why it can say nothing.

    It shows where, not what or why, and does not prove that the answer is right.

    Attributes:
        image: the path; None if the image came without one.
        label: the most probable class.
        probability: of that class, calibrated, 0 to 1.
        shown: the class that the heatmap is for; by default `label`.
        shown_probability: of that class.
        method: `gradcam`, `layercam`, `attention` or `occlusion`.
        values: float32 `[H, W]` in the pixels of the network, 0 to 1; the largest is 1, unless nothing in the image
            speaks for the class.
        picture: uint8 `[h, w, C]`, the whole picture, made smaller if it is large.
        part: of `picture` that the network sees; it may reach beyond, over the bars of `pad`.
        file: where the heatmap was written, if it was.
        error: why the image cannot be used.
    """

    image: str | None
    label: str | None = None
    probability: float | None = None
    shown: str | None = None
    shown_probability: float | None = None
    method: str | None = None
    values: NDArray[np.float32] | None = field(default=None, repr=False)
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)
    part: Part | None = None
    file: Path | None = None
    error: str | None = None

    def on_picture(self) -> NDArray[np.float32]:
        """Return the heatmap in the pixels of `picture`, float32 `[h, w]`, NaN where the network sees nothing.

        Raises:
            DataError: if the image could not be used.
        """
        if self.values is None or self.picture is None or self.part is None:
            raise DataError(f"{escape_name(self.image or 'the picture')} has no heatmap: {self.error}")
        return on_picture(self.values, self.part, *self.picture.shape[:2])

    def overlay(self) -> NDArray[np.uint8]:
        """Return `picture` in gray with the heatmap over it, uint8 `[h, w, 3]`; what was cut off is faded.

        Raises:
            DataError: if the image could not be used.
        """
        heat = self.on_picture()
        assert self.picture is not None
        return overlay(self.picture, heat)

    def draw(self) -> "tuple[Axes, Axes]":
        """Draw the picture and the heatmap side by side in a new figure, with a legend, and return the two Axes.

        Raises:
            DataError: if the image could not be used.
        """
        from firstlight.delivery.heatmap_plots import heatmap_figure

        heat = self.on_picture()
        assert self.picture is not None and self.part is not None
        return heatmap_figure(self.picture, heat, self.part, title=self._title(), notes=self._notes(heat))

    def to_json(self) -> dict[str, Any]:
        """Return `{image, label, probability, class, class_probability, method, heatmap}`, or `{image, error}`."""
        if self.error is not None:
            return {"image": self.image, "error": self.error}
        return {
            "image": self.image,
            "label": self.label,
            "probability": self.probability,
            "class": self.shown,
            "class_probability": self.shown_probability,
            "method": self.method,
            "heatmap": None if self.file is None else str(self.file),
        }

    def _repr_html_(self) -> str:
        name = self.image or "Heatmap"
        if self.error is not None:
            return Html(name).notes([f"cannot be used: {self.error}"]).text()
        words = f"Heatmap of {name} for {self.shown}, {self.label} {self.probability:.1%}"
        return Html("").figure(self._png(), words).text()

    def _png(self) -> bytes:
        from firstlight.delivery.plots import png_of

        return png_of(self.draw(), dpi=110)

    def _title(self) -> str:
        said = f"{self.label} {_percent(self.probability)}"
        if self.shown != self.label:
            said += f"; the heatmap is for {self.shown}, {_percent(self.shown_probability)}"
        return f"{self.image}\n{said}" if self.image else said

    def _notes(self, heat: NDArray[np.float32]) -> list[str]:
        assert self.method is not None
        caption = CAPTIONS[self.method] if np.nanmax(heat, initial=0) > 0 else NOTHING
        return [f"{caption.format(self.shown)} {DOES_NOT_PROVE}"]


class Heatmaps(list[Heatmap]):
    """Heatmaps of several images, in their order: a list that becomes JSON, or figures in a notebook."""

    def to_json(self) -> list[dict[str, Any]]:
        """Return `Heatmap.to_json` of each."""
        return [heatmap.to_json() for heatmap in self]

    def _repr_html_(self) -> str:
        more = len(self) - SHOWN
        return "".join(one._repr_html_() for one in self[:SHOWN]) + (
            Html("").notes([f"and {more:,} more"]).text() if more > 0 else ""
        )


def _percent(fraction: float | None) -> str:
    assert fraction is not None
    return f"{fraction:.1%}" if fraction >= 0.001 else "< 0.1%"
