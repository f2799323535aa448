"""Search for a better recipe: the choices of a recipe as options, and what a search itself takes."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from firstlight.cli.exit_codes import DONE, INTERRUPTED
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json
from firstlight.cli.options import Positional
from firstlight.cli.recipes import choices_in, load_noted
from firstlight.cli.terminal import say, tell
from firstlight.data.augment import Augment
from firstlight.data.recipe import DataRecipe
from firstlight.escaping import one_line
from firstlight.models.recipe import ModelRecipe
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing, received_signal, tell_interrupted
from firstlight.training.recipe import OptimizationRecipe, Recipe, TransferRecipe

if TYPE_CHECKING:
    from firstlight.integrations.tuning.found import Search


@dataclass(frozen=True)
class Tune:
    """Search for a better recipe: train variations of one, and compare them on validation pictures.

    The first trial is the default recipe, with the options that you give; these are kept in all trials. Only the winner
    is scored on the test pictures, once, at the end.
    """

    EXAMPLE: ClassVar[str] = "firstlight tune ~/photos --trials 20"

    source: Positional[str] = "digits"
    """Labeled pictures, as for train."""
    trials: int = 20
    """How many recipes to try, the default one included, in all processes together."""
    time_limit: float | None = None
    """Stop the search after this many seconds; a trial that is not finished then does not count."""
    search: tuple[str, ...] = ()
    """Search only these choices, such as lr weight_decay; the default is a few that depend on the network."""
    keep: tuple[str, ...] = ()
    """Do not search these choices; those that you give as options are kept anyway."""
    storage: str | None = None
    """Keep the search in this database, such as sqlite:///search.db: processes with the same options then search
    together, and the same command continues a search that was stopped."""
    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    transfer: TransferRecipe = field(default_factory=TransferRecipe)
    optimization: OptimizationRecipe = field(default_factory=OptimizationRecipe)
    augmentation: Augment = field(default_factory=Augment)
    seed: int = 0
    """Random seed of the search and of each trial."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    recipe: Path | None = None
    """Begin with the choices in this TOML file, such as the best.toml of an earlier search; they may be searched."""
    out: Path | None = None
    """Folder for the search, new or empty; the default is runs/<name>-tune-<n>."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    @classmethod
    def of(cls, recipe: Recipe, source: str) -> "Tune":
        """Return the command with the choices of a recipe as its defaults."""
        return cls(source=source, **choices_in(recipe))

    def run(self) -> int:
        """Search, and report."""
        with phase("loading PyTorch"), importing():
            from firstlight.api import tune
            from firstlight.cli.searches import search_lines

        recipe = Recipe(**choices_in(self))
        samples = load_noted(self.source, self.data)
        with announcements_to(lambda line: tell(with_flags(line))), phase("working"):
            found = tune(
                samples,
                recipe,
                trials=self.trials,
                time_limit=self.time_limit,
                storage=self.storage,
                search=self.search,
                keep=self.keep,
                out=self.out,
            )
        if self.json:
            print_json(found.to_json())
        else:
            for line in search_lines(found):
                say(with_flags(line))
        if received_signal() is not None:
            tell_interrupted(one_line(f"firstlight: interrupted; {self._how_to_go_on(found)}"))
        return INTERRUPTED if found.interrupted else DONE

    def _how_to_go_on(self, found: "Search") -> str:
        """Return what is left of a search that was interrupted, and how to go on."""
        if not found.interrupted:
            return "the search is finished"
        best = f"train the best recipe so far with firstlight train --recipe {shlex.quote(str(found.folder))}/best.toml"
        if self.storage:
            other = ", with another --out," if self.out else ""
            return f"the same command{other} continues the search; or {best}"
        return f"{best}; a search with --storage sqlite:///search.db can be continued"
