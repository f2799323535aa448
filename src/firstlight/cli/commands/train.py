"""Train a classifier: the choices of a recipe as options."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from firstlight.cli.exit_codes import DONE, INTERRUPTED
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json
from firstlight.cli.options import Positional
from firstlight.cli.recipes import choices_in, load_noted
from firstlight.cli.terminal import tell, tell_run
from firstlight.data.augment import Augment
from firstlight.data.recipe import DataRecipe
from firstlight.errors import RecipeError
from firstlight.escaping import one_line
from firstlight.models.recipe import ModelRecipe
from firstlight.progress import announcements_to, phase
from firstlight.runtime.distributed import own_name
from firstlight.runtime.joining import joining
from firstlight.runtime.signals import importing, received_signal, tell_interrupted
from firstlight.training.recipe import OptimizationRecipe, Recipe, TransferRecipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from firstlight.data.samples import Samples
    from firstlight.training.run import Run


@dataclass(frozen=True)
class Train:
    """Train a classifier on labeled pictures, score it once on held-out ones, and save it."""

    EXAMPLE: ClassVar[str] = "firstlight train ~/photos"

    source: Positional[str] = "digits"
    """A folder with one folder of pictures for each class, an archive of such a folder, a CSV or Parquet list of
    pictures, or a named set: digits mnist fashion-mnist kmnist cifar10 cifar100."""
    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    transfer: TransferRecipe = field(default_factory=TransferRecipe)
    optimization: OptimizationRecipe = field(default_factory=OptimizationRecipe)
    augmentation: Augment = field(default_factory=Augment)
    seed: int = 0
    """Random seed. The same seed, machine, and number of threads give the same model."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    recipe: Path | None = None
    """Start from the choices in this TOML file, such as the recipe.toml of an earlier run."""
    out: Path | None = None
    """Folder for the run, new or empty; the default is runs/<name>-<n>."""
    resume: str | None = None
    """Go on with a run that was interrupted or killed: give its folder; or auto for the unfinished run in runs/ with
    the same options that got furthest, or a new run if there is none."""
    resume_inexact: bool = False
    """Resume even if something has changed, although the model may then come out slightly different."""
    save_every: float = 5.0
    """How often to save the state of training, in minutes; it is also saved after epochs."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    @classmethod
    def of(cls, recipe: Recipe, source: str) -> "Train":
        """Return the command with the choices of a recipe as its defaults."""
        return cls(source=source, **choices_in(recipe))

    def run(self) -> int:
        """Train, draw the figures of the run, and report."""
        with phase("loading PyTorch"), importing():
            from firstlight.api import train
        with joining() as here:
            return self._train(train, here.is_leader)

    def _train(self, train: "Callable[..., Run]", leads: bool) -> int:
        recipe = Recipe(**choices_in(self))
        samples: Samples | str | None = None if self.source == Train.source else self.source
        if self.resume in (None, "auto"):
            samples = load_noted(self.source, self.data)
        else:
            self._refuse_choices(recipe)
        with announcements_to(lambda line: tell(with_flags(line))), phase("working"):
            run = train(
                samples,
                recipe if self.resume in (None, "auto") else None,
                out=self.out,
                resume=self.resume,
                resume_inexact=self.resume_inexact,
                save_every=self.save_every,
            )
        if leads:
            print_json(run.to_json()) if self.json else tell_run(run)
        if leads and received_signal() is not None:
            kept = "the run is finished" if run.test else f"go on with {own_name()} train --resume {run.folder}"
            tell_interrupted(one_line(f"firstlight: interrupted; {kept}"))
        return DONE if run.test and not run.interrupted else INTERRUPTED

    def _refuse_choices(self, recipe: Recipe) -> None:
        """Refuse choices beside the folder of a run to resume, which has its own."""
        usual = Recipe().flat()
        chosen = {name: value for name, value in recipe.flat().items() if value != usual[name]}
        for name, value in ({"out": str(self.out)} if self.out else chosen).items():
            raise RecipeError("a run that is resumed keeps its choices; leave this out", field=name, value=value)
