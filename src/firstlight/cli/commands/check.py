"""Check a set of pictures before training."""

from dataclasses import dataclass, field
from typing import ClassVar

from firstlight.cli.exit_codes import DONE
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json
from firstlight.cli.options import Positional
from firstlight.cli.terminal import tell, tell_check
from firstlight.data.recipe import SourceRecipe
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing


@dataclass(frozen=True)
class Check:
    """Check a set of pictures before training: what is in it, what cannot be used, and which pictures are copies."""

    EXAMPLE: ClassVar[str] = "firstlight check ~/photos"

    source: Positional[str]
    """A folder, an archive, a list, or a named set, as for train."""
    reading: SourceRecipe = field(default_factory=SourceRecipe)
    labels: bool = False
    """Also look for labels that are probably wrong. This takes about as long as training."""
    max_pixels: int = 50_000_000
    """Set aside pictures with more pixels than this, without decoding them."""
    workers: int | None = None
    """Number of threads that decode pictures."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self) -> int:
        """Decode every picture once, and report."""
        from firstlight.data.sources import load_data

        samples = load_data(self.source, **self.reading.source_choices())
        if self.labels:
            with phase("loading PyTorch"), importing():
                from firstlight import api
            with announcements_to(lambda line: tell(with_flags(line))):
                report = api.check(samples, labels=True, workers=self.workers, max_pixels=self.max_pixels)
        else:
            from firstlight.delivery.check import check  # by itself: it needs no torch, which `api` imports

            with announcements_to(lambda line: tell(with_flags(line))):
                report = check(samples, workers=self.workers, max_pixels=self.max_pixels)
        found = report.to_json()
        print_json(found) if self.json else tell_check(found)
        return DONE
