"""firstlight: an image classifier you can trust, from a folder of labeled images.

The public names are loaded when they are first used, so that `import firstlight` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # what editors and type checkers see
    from firstlight.api import train
    from firstlight.data.inspection import Inspection, inspect
    from firstlight.data.samples import Samples
    from firstlight.data.sources import load_data
    from firstlight.delivery.plots import confusion_matrix, image_grid, imshow, mistakes_grid, training_curves
    from firstlight.delivery.predict import Prediction, predict, view_classify
    from firstlight.errors import UserError
    from firstlight.evaluation.evaluate import Evaluation, evaluate
    from firstlight.models.artefact import inspect_model
    from firstlight.models.artefact import load_model as load
    from firstlight.models.artefact import save_model as save
    from firstlight.models.classifier import Classifier
    from firstlight.training.recipe import Recipe
    from firstlight.training.run import Run

__all__ = [
    "Classifier",
    "Evaluation",
    "Inspection",
    "Prediction",
    "Recipe",
    "Run",
    "Samples",
    "UserError",
    "confusion_matrix",
    "evaluate",
    "train",
    "imshow",
    "inspect",
    "inspect_model",
    "load",
    "load_data",
    "mistakes_grid",
    "image_grid",
    "predict",
    "save",
    "training_curves",
    "view_classify",
]

# Where each public name lives: its module, and its name there if that differs.
_HOMES = {
    "Classifier": "models.classifier",
    "Evaluation": "evaluation.evaluate",
    "Inspection": "data.inspection",
    "Prediction": "delivery.predict",
    "Recipe": "training.recipe",
    "Run": "training.run",
    "Samples": "data.samples",
    "UserError": "errors",
    "confusion_matrix": "delivery.plots",
    "evaluate": "evaluation.evaluate",
    "train": "api",
    "imshow": "delivery.plots",
    "inspect": "data.inspection",
    "inspect_model": "models.artefact",
    "load": "models.artefact:load_model",
    "load_data": "data.sources",
    "mistakes_grid": "delivery.plots",
    "image_grid": "delivery.plots",
    "predict": "delivery.predict",
    "save": "models.artefact:save_model",
    "training_curves": "delivery.plots",
    "view_classify": "delivery.predict",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'firstlight' has no attribute {name!r}")
    import_module(
        "firstlight.runtime.processors"
    ).yield_processors()  # in time for torch, which the module below may import
    module, _, original = _HOMES[name].partition(":")
    value = getattr(import_module(f"firstlight.{module}"), original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
