"""Compare two models on the same pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from firstlight.cli.comparisons import comparison_lines
from firstlight.cli.exit_codes import DONE
from firstlight.cli.flags import with_flags
from firstlight.cli.options import Positional
from firstlight.cli.terminal import print_json, say, tell
from firstlight.data.recipe import SourceRecipe
from firstlight.progress import announcements_to, phase


@dataclass(frozen=True)
class Compare:
    """Compare two models on the same pictures: which is better, by how much, and whether that may be chance."""

    EXAMPLE: ClassVar[str] = "firstlight compare runs/photos-1 runs/photos-2"

    a: Positional[Path]
    """A run folder; with SOURCE also a model.safetensors."""
    b: Positional[Path]
    """Another one, with the same classes."""
    source: Positional[str | None] = None
    """Pictures to score both on, as for evaluate; by default the runs' own split, which needs no pictures."""
    split: Literal["valid", "test", "all"] = "valid"
    """Pictures to compare on. Comparing on test counts as one more evaluation of the test split of both runs."""
    reading: SourceRecipe = field(default_factory=SourceRecipe)
    allow_quarantine: bool = False
    """Continue even if more than 1% of the pictures cannot be used."""
    max_pixels: int | None = None
    """Do not decode pictures with more pixels than this; the default is the limit used in training."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self) -> int:
        """Compare and report."""
        with phase("loading PyTorch"):
            from firstlight.api import compare

        with announcements_to(lambda line: tell(with_flags(line))), phase("comparing"):
            found = compare(
                self.a,
                self.b,
                self.source,
                split=self.split,
                device=self.device,
                allow_quarantine=self.allow_quarantine,
                max_pixels=self.max_pixels,
                **self.reading.chosen(),
            )
        if self.json:
            print_json(found.to_json())
            return DONE
        for line in comparison_lines(found):
            say(with_flags(line))
        return DONE
