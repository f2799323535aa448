"""Compare two models on the same pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from firstlight.cli.exit_codes import DONE
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json
from firstlight.cli.options import Positional
from firstlight.cli.terminal import say, tell
from firstlight.data.recipe import SourceRecipe
from firstlight.errors import RecipeError
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing

if TYPE_CHECKING:
    from firstlight.evaluation.comparison import Comparison
    from firstlight.evaluation.repeated import RecipeComparison


@dataclass(frozen=True)
class Compare:
    """Compare two models on the same pictures: which is better, by how much, and whether that may be chance.

    With --seeds, A and B are recipes: each is trained that often, and the runs of both are compared.
    """

    EXAMPLE: ClassVar[str] = "firstlight compare runs/photos-1 runs/photos-2"

    a: Positional[Path]
    """A run folder; with SOURCE also a model.safetensors; with --seeds a recipe in TOML, or a run with one."""
    b: Positional[Path]
    """The other one, with the same classes."""
    source: Positional[str | None] = None
    """Pictures to score both on, as for evaluate; by default the runs' own split, which needs no pictures. With
    --seeds, the pictures to train on; by default those that the recipes name."""
    split: Literal["valid", "test", "all"] = "valid"
    """Pictures to compare on. Comparing on test counts as one more evaluation of the test split of both runs."""
    seeds: int | None = None
    """Train both recipes with this many seeds each, on the same split, and compare them on validation."""
    out: Path | None = None
    """Folder for a figure of the differences, new or empty; with --seeds for the runs, by default runs/compare-<n>."""
    csv: Path | None = None
    """Also write a CSV file with one row per picture that only one of the two got right: image, label, a, b, right."""
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
        with phase("loading PyTorch"), importing():
            from firstlight.api import compare, compare_recipes
            from firstlight.cli.comparisons import comparison_lines
            from firstlight.delivery.predict import require_file
            from firstlight.delivery.score_files import draw_comparison, write_disagreements
            from firstlight.runs.folder import require_free

        require_free(self.out)
        if self.csv:
            require_file(self.csv, self.source)

        found: Comparison | RecipeComparison
        with announcements_to(lambda line: tell(with_flags(line))), phase("comparing"):
            if self.seeds is not None:
                self._refuse_what_recipes_say()
                found = compare_recipes(self.a, self.b, self.source, seeds=self.seeds, out=self.out)
            else:
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
                if self.csv:
                    write_disagreements(found, self.csv)
                if self.out:
                    draw_comparison(found, self.out)
        if self.json:
            print_json(found.to_json())
            return DONE
        for line in comparison_lines(found):
            say(with_flags(line))
        for written in filter(None, (self.csv, self.out)):
            say(f"wrote {written}")
        return DONE

    def _refuse_what_recipes_say(self) -> None:
        """Refuse options that only models take: a recipe says all but the source and the number of seeds itself."""
        given = {name: getattr(self, name) for name in ("split", "csv", "device", "allow_quarantine", "max_pixels")}
        given = {name: value for name, value in given.items() if value != getattr(Compare, name)}
        for name, value in (given | self.reading.chosen()).items():
            reason = "with `seeds`, recipes are compared on validation, and say themselves how to train; leave it out"
            raise RecipeError(reason, field=name, value=value)
