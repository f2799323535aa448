"""Classify pictures."""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import show_json
from firstlight.cli.options import Positional
from firstlight.cli.pictures import at_least, end_of, files_named, require_pictures
from firstlight.cli.terminal import show_table, tell
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing


@dataclass(frozen=True)
class Predict:
    """Classify pictures, and say which answers are unsure. Those that cannot be used are listed with the reason."""

    EXAMPLE: ClassVar[str] = "firstlight predict runs/photos-1 new.jpg"

    model: Positional[Path]
    """A run folder, its model.safetensors, or hf:USER/NAME for a model on the Hugging Face Hub."""
    paths: Positional[tuple[str, ...]]
    """Pictures, folders, or archives, or - to read a list of paths from standard input."""
    top: int = 5
    """How many classes to list for each picture."""
    accept: float | None = None
    """Call an answer unsure if its probability is below this, from 0 to 1. By default, it is unsure if it takes more
    than one class to include the right one in 9 of 10 cases."""
    sets: Literal["overall", "by-class"] = "overall"
    """Include the right class in 9 of 10 cases over all pictures, or for each class, which leaves more classes
    possible."""
    csv: Path | None = None
    """Also write a CSV file with one row per picture: image, label, probability, error, whether it is unsure and why,
    and the rest of --top."""
    max_pixels: int | None = None
    """Do not decode pictures with more pixels than this; the default is the limit used in training."""
    workers: int | None = None
    """Number of threads that decode pictures."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    engine: Literal["auto", "torch", "onnx"] = "auto"
    """What runs the model: torch; onnx, which runs an export of it in ONNX Runtime and makes one first if there is
    none; or auto, which takes an export that it knows already if it was measured to be faster here."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON list instead of text."""

    def run(self) -> int:
        """Classify and report, picture by picture."""
        with phase("loading PyTorch"), importing():
            from firstlight.delivery.engine import engine_for
            from firstlight.delivery.predict import require_file, written_to_csv
            from firstlight.inference.doubt import CANNOT_TELL
            from firstlight.inference.predictor import Predictor
            from firstlight.models.model_file import load_model
            from firstlight.runs.folder import model_file
            from firstlight.runtime.device import pick_device

        if self.csv:
            require_file(self.csv, *self.paths)
        with phase("loading the model"), announcements_to(lambda line: tell(with_flags(line))):
            model = load_model(model_file(self.model), pick_device(self.device))
            predictor = Predictor(
                model,
                top=self.top,
                max_pixels=self.max_pixels,
                workers=self.workers,
                accept=self.accept,
                sets=self.sets,
                engine=engine_for(model, self.engine, images=at_least(self.paths)),
            )
        if model.trust is None:
            tell(f"note: {CANNOT_TELL}")
        predictions = predictor.predict_files(files_named(self.paths))
        if self.csv:
            predictions = written_to_csv(predictions, self.csv, min(self.top, len(model.classes)))
        with (
            nullcontext() if sys.stdout.isatty() else phase("classifying pictures")
        ):  # on a terminal, each answer shows
            count, errors = show_json(predictions) if self.json else show_table(predictions)
        require_pictures(count, self.paths)
        return end_of(count, errors)
