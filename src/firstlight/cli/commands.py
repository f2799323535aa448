"""The commands: one dataclass each, whose fields are its options.

Nothing heavy is imported before a command that needs it runs, so that `--help` answers at once.
"""

import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

from firstlight.cli.flags import with_flags
from firstlight.cli.layout import counted
from firstlight.cli.options import Positional
from firstlight.cli.scores import class_table
from firstlight.cli.terminal import print_json, say, show_json, show_table, tell, tell_check, tell_run
from firstlight.data.augment import Augment
from firstlight.data.recipe import DataRecipe, SourceRecipe
from firstlight.errors import DataError
from firstlight.models.recipe import ModelRecipe
from firstlight.progress import announcements_to, phase
from firstlight.training.recipe import GROUPS, OptimizationRecipe, Recipe, TransferRecipe

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130


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
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    @classmethod
    def of(cls, recipe: Recipe, source: str) -> "Train":
        """Return the command with the choices of a recipe as its defaults."""
        groups = {name: getattr(recipe, name) for name in GROUPS}
        return cls(source=source, seed=recipe.seed, device=recipe.device, **groups)

    def run(self) -> int:
        """Train, draw the figures of the run, and report."""
        with phase("loading PyTorch"):
            from firstlight.api import train
        from firstlight.data.sources import load_data

        recipe = Recipe(
            data=self.data,
            model=self.model,
            transfer=self.transfer,
            optimization=self.optimization,
            augmentation=self.augmentation,
            seed=self.seed,
            device=self.device,
        )
        samples = load_data(self.source, **self.data.source_choices())
        for note in samples.notes:
            tell(f"note: {with_flags(note)}")
        with announcements_to(lambda line: tell(with_flags(line))), phase("working"):
            run = train(samples, recipe, out=self.out)
        print_json(run.to_json()) if self.json else tell_run(run)
        return DONE if run.test else INTERRUPTED


@dataclass(frozen=True)
class Evaluate:
    """Score a model on labeled pictures."""

    EXAMPLE: ClassVar[str] = "firstlight evaluate runs/photos-1 ~/photos"

    model: Positional[Path]
    """A run folder, or its model.safetensors."""
    source: Positional[str]
    """A folder, an archive, a list, or a named set, as for train; classes are matched by name."""
    split: Literal["train", "valid", "test", "all"] = "test"
    """Split to score: from the run's split.csv if it was trained on this set, otherwise from the set's own splits."""
    reading: SourceRecipe = field(default_factory=SourceRecipe)
    allow_quarantine: bool = False
    """Continue even if more than 1% of the pictures cannot be used."""
    max_pixels: int | None = None
    """Do not decode pictures with more pixels than this; the default is the limit used in training."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    out: Path | None = None
    """Folder for figures, new or empty: the confusion matrix and the worst mistakes."""
    csv: Path | None = None
    """Also write a CSV file with one row per picture: its label, the predicted class, and the probability."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self) -> int:
        """Score and report."""
        with phase("loading PyTorch"):
            from firstlight.api import evaluate
            from firstlight.delivery.predict import require_file
            from firstlight.delivery.score_files import draw_score, write_answers
            from firstlight.runs.folder import require_free

        require_free(self.out)
        if self.csv:
            require_file(self.csv)
        with announcements_to(lambda line: tell(with_flags(line))), phase("scoring"):
            found = evaluate(
                self.model,
                self.source,
                split=self.split,
                device=self.device,
                allow_quarantine=self.allow_quarantine,
                max_pixels=self.max_pixels,
                **self.reading.chosen(),
            )
        part = f"all of {self.source}" if self.split == "all" else f"the {self.split} split of {self.source}"
        if self.csv:
            write_answers(found, self.csv)
        if self.out:
            draw_score(found, self.out, f"{self.model} on {part}")
        if self.json:
            print_json({**found.evaluation.to_json(), "split": self.split, "test_evaluations": found.test_evaluations})
            return DONE
        say(f"{self.model} on {part}")
        for line in [*str(found.evaluation).splitlines(), *class_table(found.evaluation)]:
            say(line)
        for written in filter(None, (self.csv, self.out)):
            say(f"wrote {written}")
        if found.test_evaluations:
            times = "once" if found.test_evaluations == 1 else f"{found.test_evaluations} times"
            say(f"this run's test split has now been scored {times}; evaluation.json keeps count")
        return DONE


@dataclass(frozen=True)
class Predict:
    """Classify pictures. Those that cannot be used are listed with the reason, and the rest are still classified."""

    EXAMPLE: ClassVar[str] = "firstlight predict runs/photos-1 new.jpg"

    model: Positional[Path]
    """A run folder, or its model.safetensors."""
    paths: Positional[tuple[str, ...]]
    """Pictures, folders, or archives, or - to read a list of paths from standard input."""
    top: int = 5
    """How many classes to list for each picture."""
    csv: Path | None = None
    """Also write a CSV file with one row per picture: image, label, probability, error, and the rest of --top."""
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
        """Classify and report, picture by picture."""
        with phase("loading PyTorch"):
            from firstlight.delivery.path_lists import read_paths
            from firstlight.delivery.predict import find_files, written_to_csv
            from firstlight.inference.predictor import Predictor
            from firstlight.models.model_file import load_model
            from firstlight.runs.folder import model_file
            from firstlight.runtime.device import pick_device

        with phase("loading the model"):
            model = load_model(model_file(self.model), pick_device(self.device))
            predictor = Predictor(model, top=self.top, max_pixels=self.max_pixels, workers=self.workers)
        given = (path for word in self.paths for path in (read_paths(sys.stdin.buffer) if word == "-" else [word]))
        predictions = predictor.predict_files(find_files(given))
        if self.csv:
            predictions = written_to_csv(predictions, self.csv, min(self.top, len(model.classes)))
        with (
            nullcontext() if sys.stdout.isatty() else phase("classifying pictures")
        ):  # on a terminal, each answer shows
            count, errors = show_json(predictions) if self.json else show_table(predictions)
        if not count:
            raise DataError(f"no pictures found in {' '.join(self.paths)}; give pictures, folders, or archives")
        if errors:
            tell(f"{errors:,} of {counted(count, 'picture')} could not be used")
        return DONE if errors < count else WRONG_INPUT


@dataclass(frozen=True)
class Check:
    """Check a set of pictures before training: what is in it, what cannot be used, and which pictures are copies."""

    EXAMPLE: ClassVar[str] = "firstlight check ~/photos"

    source: Positional[str]
    """A folder, an archive, a list, or a named set, as for train."""
    reading: SourceRecipe = field(default_factory=SourceRecipe)
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
        from firstlight.data.check import check  # by itself: `api` would import torch, which checking does not need
        from firstlight.data.sources import load_data

        samples = load_data(self.source, **self.reading.source_choices())
        found = check(samples, workers=self.workers, max_pixels=self.max_pixels).to_json()
        print_json(found) if self.json else tell_check(found)
        return DONE


@dataclass(frozen=True)
class Guide:
    """Write the nine chapters of the guide as notebooks, to read, run, and change."""

    EXAMPLE: ClassVar[str] = "firstlight guide"

    folder: Positional[Path] = Path("firstlight-guide")
    """Folder to write them to; existing files are never overwritten."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self) -> int:
        """Write them, and list them."""
        from firstlight.delivery.notebooks import write_notebooks

        notebooks = write_notebooks(self.folder)
        if self.json:
            print_json({"notebooks": [str(path) for path in notebooks]})
            return DONE
        for path in notebooks:
            say(str(path))
        opener = "jupyter lab" if find_spec("jupyterlab") else "pip install jupyterlab; jupyter lab"
        tell(f"open them in your editor, or with: {opener} {self.folder}")
        return DONE
