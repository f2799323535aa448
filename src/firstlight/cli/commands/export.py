"""Export a model for another runtime."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from firstlight.cli.exit_codes import DONE
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json
from firstlight.cli.options import Positional
from firstlight.cli.pictures import files_named, require_pictures
from firstlight.cli.terminal import say, tell
from firstlight.escaping import escape_name
from firstlight.progress import announcements_to, phase
from firstlight.runtime.signals import importing

if TYPE_CHECKING:
    from firstlight.delivery.export.export import Exported
    from firstlight.delivery.export.parity import Checked
    from firstlight.delivery.share.upload import Pushed

SMALLEST_SHOWN = 1e-6  # difference of a probability


@dataclass(frozen=True)
class Export:
    """Write a model as one file for another runtime, after checking on real pictures that it gives the same answers.

    The file takes pixels of the model's size, and gives calibrated probabilities: normalization is inside, and the
    classes are in its metadata. It can also write a model card, or upload all of this to the Hugging Face Hub.
    """

    EXAMPLE: ClassVar[str] = "firstlight export runs/photos-1 --to onnx"

    model: Positional[Path]
    """A run folder, its model.safetensors, or hf:USER/NAME for a model on the Hugging Face Hub."""
    repository: Positional[str | None] = None
    """For --to hub: a repository on the Hugging Face Hub, such as ada/birds. It is made, as a private one, if it does
    not exist."""
    to: Literal["onnx", "torch", "card", "hub"] = "onnx"
    """What to make: onnx, for ONNX Runtime and many other runtimes; torch, for torch.export.load; card, a model card
    in Markdown; or hub, to upload the model, its card, and an ONNX file to the Hugging Face Hub."""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """Precision of the numbers, for onnx: bfloat16 halves the size of the file, and int8 makes it about a third. Either
    is written only if it gives the model's class for 99% of the pictures and is about as accurate as the model."""
    check: tuple[str, ...] | None = None
    """Pictures, folders, or archives to check the file on, at least 64 pictures, or - to read a list of paths from
    standard input. The default is the pictures that the run kept for this."""
    out: Path | None = None
    """File to write; the default is model.onnx, model.int8.onnx, model.bfloat16.onnx, model.pt2, or model-card.md
    beside the model file. An earlier file is replaced only by one that has passed the check; a model card that you have
    changed, only with --out."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self) -> int:
        """Export, and say where the file is and how it was checked."""
        with phase("loading PyTorch"), importing():
            from firstlight.api import export

        files = None
        if self.check:
            files = list(files_named(self.check))
            require_pictures(len(files), self.check)
        with announcements_to(lambda line: tell(with_flags(line))):
            made = export(
                self.model,
                self.to,
                precision=self.precision,
                check=files,
                out=self.out,
                repository=self.repository,
            )
        if self.json:
            print_json({"file": str(made), "to": "card"} if isinstance(made, Path) else made.to_json())
        else:
            _tell_export(made)
        return DONE


def _tell_export(made: "Exported | Path | Pushed") -> None:
    """Report what was made: where it is, and how it was checked."""
    if isinstance(made, Path):
        say(f"model card written to {made}")
    elif made.to == "hub":
        say(f"uploaded {', '.join(map(escape_name, made.files))}")
        say(f"{made.url} ({'private' if made.private else 'public'}); load it as hf:{made.repository}")
    else:
        checked = made.checked
        differ = round((1 - checked.top1_agreement) * checked.n)
        answers = f"answer as the model for {checked.n - differ:,} of them" if differ else "answers as the model"
        say(f"exported to {made.file} ({made.bytes / 1e6:.1f} MB, {made.precision})")
        say(f"checked on {checked.n:,} pictures: the same {answers}, {_difference_words(checked.max_difference)}")
        for line in _loss_lines(checked):
            say(line)
        say(f"how to prepare pictures, and three to check your own program with: {made.golden / 'preprocess.md'}")


def _loss_lines(checked: "Checked") -> list[str]:
    """Return what fewer bits have cost, as far as it is known."""
    lines = []
    if checked.accuracy is not None:
        lines.append(f"accuracy on them {checked.accuracy:.3f}; the model's {checked.model_accuracy}")
    if checked.refused is not None and checked.model_refused is not None:
        lines.append(
            f"called unlike anything in training {checked.refused:.1%}; by the model {checked.model_refused:.1%}"
        )
    if checked.made_by is not None:
        lines.append(
            f"made with {checked.made_by}, and with the ranges of values in {checked.learned_from} other pictures"
        )
    return lines


def _difference_words(difference: float) -> str:
    """Return by how much probabilities differ.

    >>> _difference_words(2.6e-06)
    'probabilities differ by at most 0.000003'
    >>> _difference_words(0.0182)
    'probabilities differ by at most 0.02'
    """
    if difference < SMALLEST_SHOWN:
        return f"probabilities differ by less than {SMALLEST_SHOWN:f}"
    digits = -math.floor(math.log10(difference))
    return f"probabilities differ by at most {difference:.{max(1, digits)}f}"
