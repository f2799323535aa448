"""The contract of preprocessing: how a picture becomes the input of an exported file, in words for any language."""

import textwrap

from firstlight.data.images import PAD_GRAY
from firstlight.data.jpeg import min_decoded_side
from firstlight.models.classifier import Classifier
from firstlight.resize import parse_resize
from firstlight.white import FULL_WHITE

WIDTH = 100  # characters of a line
CONTRACT = """\
# From a picture to `{file}`

The input `images` is uint8 `[N, {height}, {width}, {channels}]`: N pictures, {colors}, rows from the top, pixels from \
0 to 255. Do not normalize them; the file does that. Each picture is prepared in these steps:

1. **Decode** the first frame to 8 bits per channel. Palettes and CMYK become RGB; color profiles are ignored. \
firstlight refuses pictures of more than {max_pixels:,} pixels. It decodes a JPEG at 1/8, 1/4 or 1/2 of its size, the \
smallest that leaves at least {min_side} pixels on both sides; decoding it at full size changes the answers a little.
2. **More than 8 bits:** a gray value v of 16 bits becomes min(255, floor(255 v / {white} + 0.5)). Of colors with 16 \
bits, take the upper byte. {floats}
3. **Transparency:** draw the picture on white. With alpha a from 0 to 255, each channel c becomes \
round((a c + (255 - a) 255) / 255).
4. **Orientation:** turn the picture upright by tag 0x0112 of its EXIF data. 1: nothing; 2: mirror left to right; 3: \
turn by 180°; 4: mirror top to bottom; 5: swap rows and columns; 6: turn by 90° clockwise; 7: turn by 180°, then swap \
rows and columns; 8: turn by 90° counterclockwise.
5. **Channels:** {to_channels}
6. **Resize** by `{resize}`, from h rows and w columns to {height} rows and {width} columns. {to_size}

## How it is scaled

Bilinear with antialiasing: Pillow's `Image.resize` with `BILINEAR`, or PyTorch's `interpolate` with `mode="bilinear"` \
and `antialias=True`. They agree within one gray level. OpenCV's `INTER_LINEAR` does not antialias, and gives other \
answers.

First every row is scaled from n to m columns, and rounded to uint8; then every column in the same way. With \
r = n / m, q = max(r, 1) and c = (i + 0.5) r, pixel i of the result is the weighted mean of all pixels j for which \
the weight 1 - |j + 0.5 - c| / q is above zero.

## What the answers mean

- `probabilities` `[N, {count}]`: calibrated, in the order of `classes` in the file's metadata and in `expected.json`.
- `logits` and `features`: what they are computed from.
- `strangeness` `[N]`: {strangers}

## Check your pipeline

Run the {pictures} pictures of this folder through it. Every probability must be within {tolerance:g} of the one in \
`expected.json`. Where yours are not, compare them with those under `if_wrong`, to which the most frequent mistakes \
lead. In Python, `firstlight.verify_export(yours, "{folder}")` does both; `yours` is a function that takes the path of \
a picture and returns its probabilities, or a list of the probabilities of each picture.

They were made from the model's validation pictures. Delete them wherever those must not be published.
"""

CROP = (
    "Let s = {fraction}min(h / {height}, w / {width}), a = max(1, round({height} s)) and b = max(1, round({width} s)), "
    "where round takes halves to the even number. Keep a rows from row floor((h - a) / 2), and b columns from column "
    "floor((w - b) / 2), and scale them."
)
PAD = (
    "Let s = max(h / {height}, w / {width}). Scale the picture to a = max(1, round(h / s)) rows and b = max(1, "
    "round(w / s)) columns, where round takes halves to the even number. Put it on gray, every channel {gray}, at row "
    "floor(({height} - a) / 2) and column floor(({width} - b) / 2)."
)
SQUASH = "Rows and columns are scaled independently; nothing is cut off."
TO_SIZE = {"crop": CROP, "pad": PAD, "squash": SQUASH}
AS_IT_IS = " A picture of exactly that size stays as it is."
TO_GRAY = "a color becomes gray before resizing: floor((19595 red + 38470 green + 7471 blue + 32768) / 65536)."
TO_COLOR = "a gray picture gets three equal channels."


def contract_of(model: Classifier, file: str, folder: str, *, tolerance: float, pictures: int) -> str:
    """Return the contract of a model's preprocessing, as Markdown.

    Args:
        model: that was exported.
        file: the name of the exported file.
        folder: the name of the folder of its golden pictures.
        tolerance: of a probability of theirs.
        pictures: how many there are.
    """
    channels, height, width = model.input_size
    method, fraction = parse_resize(model.resize)
    to_size = TO_SIZE[method].format(
        height=height, width=width, fraction="" if fraction == 1 else f"{fraction:g} ", gray=PAD_GRAY
    )
    strange = model.trust.strangeness if model.trust else None
    text = CONTRACT.format(
        file=file,
        folder=folder,
        height=height,
        width=width,
        channels=channels,
        colors="red, green and blue" if channels == 3 else "gray",
        max_pixels=model.max_pixels,
        min_side=min_decoded_side(model.input_size, model.resize),
        white=model.white.integers or FULL_WHITE,
        floats=f"A float v becomes min(255, floor(255 v / {model.white.floats or 1:g} + 0.5)).",
        to_channels=TO_COLOR if channels == 3 else TO_GRAY,
        resize=model.resize,
        to_size=to_size + ("" if fraction < 1 else AS_IT_IS),
        count=len(model.classes),
        strangers=(
            "not a number, since this model cannot tell strangers."
            if strange is None
            else f"a picture above {strange.threshold:.6g} is unlike anything in training."
        ),
        tolerance=tolerance,
        pictures=pictures,
    )
    return "\n".join(_filled(line) for line in text.split("\n"))


def _filled(line: str) -> str:
    """Return a paragraph or an item of a list, broken into lines."""
    indent = " " * (line.index(" ") + 1) if line[:1] in "-123456789" and line else ""
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
