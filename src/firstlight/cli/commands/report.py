"""Write a page about a run, or about a model on labeled pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from firstlight.cli.exit_codes import DONE
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json
from firstlight.cli.options import Positional
from firstlight.cli.terminal import say, tell
from firstlight.data.recipe import SourceRecipe
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing


@dataclass(frozen=True)
class Report:
    """Write a page about a run, or about a model on labeled pictures: one HTML file that needs nothing else."""

    EXAMPLE: ClassVar[str] = "firstlight report runs/photos-1"

    model: Positional[Path]
    """A run folder; with a source, also a model.safetensors."""
    source: Positional[str | None] = None
    """Score the model on these labeled pictures: a folder, an archive, a list, or a named set, as for train."""
    split: Literal["train", "valid", "test", "all"] = "test"
    """Split of the source to score, as for evaluate."""
    reading: SourceRecipe = field(default_factory=SourceRecipe)
    allow_quarantine: bool = False
    """Continue even if more than 1% of the pictures cannot be used."""
    max_pixels: int | None = None
    """Do not decode pictures with more pixels than this; the default is the limit used in training."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    out: Path | None = None
    """File to write; the default is report.html in the run folder, or <name of the set>-report.html here."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self) -> int:
        """Write the page, and say where it is."""
        with phase("loading PyTorch"), importing():
            from firstlight.api import report

        with announcements_to(lambda line: tell(with_flags(line))), phase("writing the report"):
            written = report(
                self.model,
                self.source,
                out=self.out,
                split=self.split,
                device=self.device,
                allow_quarantine=self.allow_quarantine,
                max_pixels=self.max_pixels,
                **self.reading.chosen(),
            )
        print_json({"report": str(written)}) if self.json else say(f"wrote {written}; open it in a browser")
        return DONE
