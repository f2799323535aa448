"""Shortcuts in words: what each means, with its figures, and what to do about them."""

from collections.abc import Sequence

from firstlight.escaping import escape_name
from firstlight.evaluation.edges import BORDER, CORNERS
from firstlight.evaluation.shortcuts import Shortcut

WORDS = {
    BORDER: "the border",
    **{cue: f"the {cue.removeprefix('corner ')} corner" for cue in CORNERS},
    "size": "the size in pixels",
    "aspect": "the ratio of width to height",
    "jpeg": "how strongly the JPEG is compressed",
    "format": "the file format",
    "mode": "the color mode of the file",
    "exif camera": "the camera in the EXIF data",
    "exif software": "the software in the EXIF data",
    "exif date": "the day in the EXIF data",
    "exif author": "the author in the EXIF data",
    "exif description": "the description in the EXIF data",
    "exif fields": "which fields the file has besides its pixels",
}
HEADING = "possible shortcuts, which a model may learn instead of what the pictures show:"
ADVICE = (
    "if this comes from how the pictures were collected, the model will fail on others: collect, crop, and save all "
    "classes in the same way; if it belongs to what they show, it is real, and may stay"
)


def shortcut_lines(shortcuts: Sequence[Shortcut]) -> list[str]:
    """Return a heading, one line for each shortcut, and what to do; nothing if there is none."""
    return [HEADING, *(f"  {sentence(one)}" for one in shortcuts), f"  {ADVICE}"] if shortcuts else []


def sentence(shortcut: Shortcut) -> str:
    """Return what a shortcut tells, in one sentence for people."""
    cue, baseline, told = shortcut.cue, shortcut.baseline, shortcut.baseline + shortcut.gain
    words = WORDS.get(cue, cue)
    is_patch = cue == BORDER or cue in CORNERS
    if shortcut.label is None:
        instead = "the part just inside it" if is_patch else "guessing"
        return f"{words} alone gives the class of {told:.0%} of the pictures; {instead}, of {baseline:.0%}"
    label = escape_name(shortcut.label)
    if is_patch:
        return (
            f"{words} sets {told:.0%} of {label} apart from the other classes; the part just inside it, {baseline:.0%}"
        )
    return f"{words} is the same in {told:.0%} of {label}, but in only {baseline:.0%} of the other pictures"
