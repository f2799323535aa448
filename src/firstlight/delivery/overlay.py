"""A heatmap over the picture that it is of: the picture in gray, from yellow to red where the evidence is."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstlight.resize import Part

# From no evidence to the most, so that the strongest stands out on white as on black.
STOPS = (0.0, 0.35, 0.7, 1.0)
COLORS = ((255, 236, 128), (255, 190, 62), (240, 90, 40), (200, 16, 46))
MOST_OPAQUE = 0.8
NOT_SEEN = 0.7  # of what was cut off: this much fades into middle gray
MIDDLE_GRAY = 128


def on_picture(values: NDArray[np.float32], part: Part, height: int, width: int) -> NDArray[np.float32]:
    """Return a heatmap in the pixels of a whole picture, float32 `[height, width]`, NaN where the network sees nothing.

    Args:
        values: float32 `[H, W]`, in the pixels of the network.
        part: of the picture that these show; it may reach beyond the picture.
        height: of the picture, in pixels.
        width: of the picture.
    """
    scaled = np.asarray(Image.fromarray(values, "F").resize((part.width, part.height), Image.Resampling.BILINEAR))
    canvas = np.full((height, width), np.nan, np.float32)
    top, left = max(part.top, 0), max(part.left, 0)
    bottom, right = min(part.top + part.height, height), min(part.left + part.width, width)
    canvas[top:bottom, left:right] = scaled[top - part.top : bottom - part.top, left - part.left : right - part.left]
    return canvas


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture in gray with a heatmap over it, uint8 `[h, w, 3]`; what the network does not see is faded.

    Args:
        picture: uint8 `[h, w, C]`, C = 1 or 3.
        heat: float32 `[h, w]`, 0 to 1, and NaN where the network sees nothing.
    """
    gray = picture[..., 0] if picture.shape[2] == 1 else np.asarray(Image.fromarray(picture).convert("L"))
    base = np.repeat(gray[..., None].astype(np.float32), 3, axis=2)
    hidden = np.isnan(heat)
    values = np.where(hidden, 0, heat)
    opacity = MOST_OPAQUE * values[..., None]
    mixed = base * (1 - opacity) + colors_of(values) * opacity
    mixed[hidden] = mixed[hidden] * (1 - NOT_SEEN) + MIDDLE_GRAY * NOT_SEEN
    return np.rint(mixed).astype(np.uint8)


def colors_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colors of values from 0 to 1, `[..., 3]`, 0 to 255."""
    channels = [np.interp(values, STOPS, channel) for channel in zip(*COLORS, strict=True)]
    return np.stack(channels, axis=-1).astype(np.float32)
