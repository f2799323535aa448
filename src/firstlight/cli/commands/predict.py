"""Classify pictures."""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json, show_json
from firstlight.cli.layout import counted
from firstlight.cli.options import Positional
from firstlight.cli.pictures import at_least, end_of, files_named, require_pictures
from firstlight.cli.terminal import say, show_table, tell
from firstlight.errors import RecipeError
from firstlight.files import expand_user
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing

if TYPE_CHECKING:
    from firstlight.models.classifier import Classifier


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
    """Number of threads that decode pictures; with --engine ray, number of processes. The default is one for each
    processor."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""
    engine: Literal["auto", "torch", "onnx", "ray"] = "auto"
    """What runs the model: torch; onnx, which runs an export of it in ONNX Runtime and makes one first if there is
    none; auto, which takes an export that it knows already if it was measured to be faster here; or ray, which
    uses many processes or machines for any number of pictures, and writes the answers to --out."""
    out: Path | None = None
    """With --engine ray: the folder of Parquet files to write, with one row per picture. If it was begun before, only
    the missing answers are computed."""
    address: str | None = None
    """With --engine ray: the address of a Ray cluster whose machines all see these files, such as auto or
    ray://HOST:10001. By default, the processes run here."""
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

        self._require_fitting()
        if self.csv:
            require_file(self.csv, *self.paths)
        with phase("loading the model"):
            model = load_model(model_file(self.model), pick_device(self.device))
        if model.trust is None:
            tell(f"note: {CANNOT_TELL}")
        if self.engine == "ray":
            return self._to_parquet(model)
        with announcements_to(lambda line: tell(with_flags(line))):
            predictor = Predictor(
                model,
                top=self.top,
                max_pixels=self.max_pixels,
                workers=self.workers,
                accept=self.accept,
                sets=self.sets,
                engine=engine_for(model, self.engine, images=at_least(self.paths)),
            )
        predictions = predictor.predict_files(files_named(self.paths))
        if self.csv:
            predictions = written_to_csv(predictions, self.csv, min(self.top, len(model.classes)))
        with (
            nullcontext() if sys.stdout.isatty() else phase("classifying pictures")
        ):  # on a terminal, each answer shows
            count, errors = show_json(predictions) if self.json else show_table(predictions)
        require_pictures(count, self.paths)
        return end_of(count, errors)

    def _require_fitting(self) -> None:
        """Refuse options that only one of the engines has, when it is another one."""
        if self.engine != "ray":
            for name in ("out", "address"):
                if (value := getattr(self, name)) is not None:
                    raise RecipeError("only the engine ray uses this; add --engine ray", field=name, value=str(value))
            return
        if self.out is None:
            raise RecipeError("the engine ray writes Parquet files; say where with --out", field="engine", value="ray")
        for name, default in (("csv", None), ("top", 5)):
            if (value := getattr(self, name)) != default:
                reason = "the engine ray writes one answer for each picture, into --out only; leave this out"
                raise RecipeError(reason, field=name, value=str(value))

    def _to_parquet(self, model: "Classifier") -> int:
        from firstlight.inference.inputs import items_in
        from firstlight.integrations.ray_data.predict import predict_to_parquet

        assert self.out is not None
        written = predict_to_parquet(
            model,
            items_in(files_named(self.paths)),
            expand_user(self.out),
            accept=self.accept,
            sets=self.sets,
            max_pixels=self.max_pixels,
            workers=self.workers,
            address=self.address,
        )
        if self.json:
            print_json(written.to_json())
        else:
            before = f", {written.found:,} of them by an earlier command" if written.found else ""
            say(f"classified {counted(written.images, 'picture')}{before}; read them with pandas.read_parquet")
            say(f"  answers  {written.out}")
        return end_of(written.images, written.errors)
