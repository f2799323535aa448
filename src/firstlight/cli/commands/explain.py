"""Show where in pictures a model finds evidence for its answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import show_json
from firstlight.cli.options import Positional
from firstlight.cli.pictures import end_of, files_named, require_pictures
from firstlight.cli.terminal import say
from firstlight.progress import phase, progress
from firstlight.runtime.signals import importing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firstlight.delivery.heatmap import Heatmap


@dataclass(frozen=True)
class Explain:
    """Show where in pictures a model finds evidence for its answer, as one heatmap for each picture.

    A heatmap shows where, coarsely. It does not show what the model sees there, and does not prove that the answer is
    right; only --method occlusion tries what happens without a part of the picture.
    """

    EXAMPLE: ClassVar[str] = "firstlight explain runs/photos-1 new.jpg"

    model: Positional[Path]
    """A run folder, its model.safetensors, or hf:USER/NAME for a model on the Hugging Face Hub."""
    paths: Positional[tuple[str, ...]]
    """Pictures, folders, or archives, or - to read a list of paths from standard input."""
    method: Literal["auto", "gradcam", "layercam", "attention", "occlusion"] = "auto"
    """How: gradcam or layercam (convolutional networks), attention (vision transformers), or occlusion (any network, by
    covering parts of the picture, which is slow); auto takes what suits the network."""
    class_: str | None = None
    """Class that the heatmaps are for; the default is the most probable one of each picture."""
    out: Path | None = None
    """Folder for the heatmaps, <name>.heatmap.png; the default is ./heatmaps. No file of yours is replaced."""
    dark: bool = False
    """Draw for dark pages."""
    max_pixels: int | None = None
    """Do not decode pictures with more pixels than this; the default is the limit used in training."""
    workers: int | None = None
    """Number of threads that decode pictures."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON list instead of text."""

    def run(self) -> int:
        """Explain and report, picture by picture."""
        with phase("loading PyTorch"), importing():
            from firstlight.delivery.explain import FOLDER, explain_images, written
            from firstlight.inference.inputs import items_in
            from firstlight.models.model_file import load_model
            from firstlight.runs.folder import model_file
            from firstlight.runtime.device import pick_device

        with phase("loading the model"):
            model = load_model(model_file(self.model), pick_device(self.device))
        items = list(items_in(files_named(self.paths)))
        require_pictures(len(items), self.paths)
        folder = self.out or Path(FOLDER)
        heatmaps = explain_images(
            model,
            items,
            method=self.method,
            class_=self.class_,
            max_pixels=self.max_pixels,
            workers=self.workers,
        )
        with progress("drawing heatmaps", len(items), "pictures") as advance:
            heatmaps = counting(written(heatmaps, folder, dark=self.dark), advance)
            count, errors = show_json(heatmaps) if self.json else show_files(heatmaps)
        return end_of(count, errors)


def counting(heatmaps: "Iterator[Heatmap]", advance: "Callable[..., None]") -> "Iterator[Heatmap]":
    """Yield heatmaps, and advance the progress after each."""
    for heatmap in heatmaps:
        advance()
        yield heatmap


def show_files(heatmaps: "Iterator[Heatmap]") -> tuple[int, int]:
    """Print one line per picture as it comes; return how many there were, and how many of them had errors."""
    count = errors = 0
    for heatmap in heatmaps:
        count += 1
        errors += heatmap.error is not None
        if heatmap.error is not None:
            say(f"{heatmap.image}  error: {with_flags(heatmap.error)}")
            continue
        other = "" if heatmap.shown == heatmap.label else f", shown for {heatmap.shown} {heatmap.shown_probability:.1%}"
        say(f"{heatmap.image}  {heatmap.label} {heatmap.probability:.1%}{other}  {heatmap.file}")
    return count, errors
