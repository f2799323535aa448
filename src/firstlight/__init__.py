"""firstlight: an image classifier you can trust, from a folder of labeled pictures.

The public names are loaded when they are first used, so that `import firstlight` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name lives: its module, and its name there if that differs.
_HOMES = {
    "Augment": "data.augment",
    "CheckReport": "data.check",
    "Classifier": "models.classifier",
    "DataRecipe": "data.recipe",
    "Dataset": "data.dataset",
    "Evaluation": "evaluation.evaluate",
    "Loader": "data.loader",
    "ModelRecipe": "models.recipe",
    "Prediction": "inference.predictor",
    "Predictor": "inference.predictor",
    "Recipe": "training.recipe",
    "Run": "training.run",
    "Samples": "data.samples",
    "UserError": "errors",
    "check": "api",
    "confusion_matrix": "delivery.plots",
    "evaluate": "api",
    "evaluate_logits": "evaluation.evaluate",
    "image_grid": "delivery.plots",
    "imshow": "delivery.plots",
    "load": "models.artefact:load_model",
    "load_data": "data.sources",
    "metrics": "evaluation.metrics:",
    "mistakes_grid": "delivery.plots",
    "open_dataset": "data.dataset",
    "predict": "api",
    "read_model_card": "models.artefact",
    "save": "models.artefact:save_model",
    "split": "data.split",
    "train": "api",
    "training_curves": "delivery.plots",
    "view_classify": "delivery.predict",
}

__all__ = [*_HOMES]  # noqa: PLE0604  # names of the table above

if TYPE_CHECKING:  # what editors and type checkers see
    from firstlight.api import check, evaluate, predict, train
    from firstlight.data.augment import Augment
    from firstlight.data.check import CheckReport
    from firstlight.data.dataset import Dataset, open_dataset
    from firstlight.data.loader import Loader
    from firstlight.data.recipe import DataRecipe
    from firstlight.data.samples import Samples
    from firstlight.data.sources import load_data
    from firstlight.data.split import split
    from firstlight.delivery.plots import confusion_matrix, image_grid, imshow, mistakes_grid, training_curves
    from firstlight.delivery.predict import view_classify
    from firstlight.errors import UserError
    from firstlight.evaluation import metrics
    from firstlight.evaluation.evaluate import Evaluation, evaluate_logits
    from firstlight.inference.predictor import Prediction, Predictor
    from firstlight.models.artefact import load_model as load
    from firstlight.models.artefact import read_model_card
    from firstlight.models.artefact import save_model as save
    from firstlight.models.classifier import Classifier
    from firstlight.models.recipe import ModelRecipe
    from firstlight.training.recipe import Recipe
    from firstlight.training.run import Run


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'firstlight' has no attribute {name!r}")
    import_module("firstlight.runtime.processors").yield_processors()  # in time for torch, which may be imported below
    module, colon, original = _HOMES[name].partition(":")
    found = import_module(f"firstlight.{module}")
    value = found if colon and not original else getattr(found, original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
