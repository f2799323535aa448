"""Score a model on labeled pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from firstlight.cli.exit_codes import DONE
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json
from firstlight.cli.options import Positional
from firstlight.cli.scores import class_table
from firstlight.cli.terminal import say, tell
from firstlight.data.recipe import SourceRecipe
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing


@dataclass(frozen=True)
class Evaluate:
    """Score a model on labeled pictures."""

    EXAMPLE: ClassVar[str] = "firstlight evaluate runs/photos-1 ~/photos"

    model: Positional[Path]
    """A run folder, its model.safetensors, or hf:USER/NAME for a model on the Hugging Face Hub."""
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
    engine: Literal["auto", "torch", "onnx"] = "auto"
    """What runs the model: torch; onnx, which runs an export of it in ONNX Runtime and makes one first if there is
    none; or auto, which takes an export that it knows already if it was measured to be faster here."""
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
        with phase("loading PyTorch"), importing():
            from firstlight.api import evaluate
            from firstlight.delivery.predict import require_file
            from firstlight.delivery.score_files import draw_score, write_answers
            from firstlight.runs.folder import require_free

        require_free(self.out)
        if self.csv:
            require_file(self.csv, self.source)
        with announcements_to(lambda line: tell(with_flags(line))), phase("scoring"):
            found = evaluate(
                self.model,
                self.source,
                split=self.split,
                device=self.device,
                allow_quarantine=self.allow_quarantine,
                max_pixels=self.max_pixels,
                engine=self.engine,
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
