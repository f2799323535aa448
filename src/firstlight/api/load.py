"""Load a model, or a finished run."""

from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.api.given import Data, model_file_of, samples_of
from firstlight.errors import require_type
from firstlight.files import expand_user
from firstlight.inference.image_classifier import ImageClassifier
from firstlight.models.model_file import load_model
from firstlight.runtime.device import pick_device
from firstlight.training import run as runs
from firstlight.training.recipe_file import source_choices_of
from firstlight.training.run import Run

if TYPE_CHECKING:
    import torch


def load(model: Path | str | Run, device: "torch.device | str" = "cpu") -> ImageClassifier:
    """Return the model of a run, in evaluation mode.

    Args:
        model: a `model.safetensors`, a run folder, or a run; or `hf:user/name` or `hf:user/name@revision`, a model on
            the Hugging Face Hub, of which only `model.safetensors` is downloaded, once. All functions take these.
        device: where it will be.

    Raises:
        ModelFileError: if the file is missing, damaged, from a newer firstlight, or not one of our model files.
        WrongTypeError: if it is something else.
    """
    from torch import device as TorchDevice  # noqa: N812

    found = device if isinstance(device, TorchDevice) else pick_device(device)
    return ImageClassifier.of(load_model(model_file_of(model), found))


def load_run(folder: Path | str, data: Data | None = None) -> Run:
    """Return a finished run, as `train` returned it, from its folder alone.

    Args:
        folder: the run folder, or the model file in it.
        data: what the run was trained on. It is needed only for `run.data`, and only if it is no longer where it was,
            or was given to `train` as arrays or other things in memory.

    Raises:
        RunError: if the folder holds no run, a file in it is damaged, or the data are not those of the run.
    """
    require_type(folder, Path | str, "folder", "the path of a run folder")
    return runs.load_run(folder, None if data is None else samples_of(data, source_choices_of(expand_user(folder))))
