"""firstlight: an image classifier you can trust, from a folder of labeled pictures.

The public names are loaded when they are first used, so that `import firstlight` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each public name lives: its module, and its name there if that differs.
_HOMES = {
    "Augment": "data.augment",
    "CheckReport": "delivery.check",
    "Classifier": "inference.image_classifier:ImageClassifier",
    "Comparison": "evaluation.comparison",
    "DataRecipe": "data.recipe",
    "Dataset": "data.dataset",
    "Evaluation": "evaluation.evaluate",
    "Exported": "delivery.export.export",
    "Heatmap": "delivery.heatmap",
    "Heatmaps": "delivery.heatmap",
    "Loader": "data.loader",
    "ModelRecipe": "models.recipe",
    "Packed": "data.sharding",
    "Prediction": "inference.prediction",
    "Predictions": "inference.prediction",
    "Predictor": "inference.predictor",
    "Recipe": "training.recipe",
    "RecipeComparison": "evaluation.repeated",
    "Run": "training.run",
    "Samples": "data.samples",
    "Search": "integrations.tuning.found",
    "UserError": "errors",
    "Verified": "delivery.export.verify",
    "check": "api",
    "compare": "api",
    "compare_recipes": "api",
    "confusion_matrix": "delivery.confusion_plot",
    "evaluate": "api",
    "evaluate_logits": "evaluation.evaluate",
    "explain": "api",
    "export": "api",
    "image_grid": "delivery.plots",
    "imshow": "delivery.plots",
    "load": "api",
    "load_data": "data.sources",
    "load_run": "api",
    "metrics": "evaluation.metrics:",
    "mistakes_grid": "delivery.plots",
    "open_dataset": "data.dataset",
    "pack": "api",
    "predict": "api",
    "read_model_card": "models.model_file",
    "report": "api",
    "save": "models.model_file:save_model",
    "serve": "api",
    "show_batch": "api",
    "split": "data.split",
    "train": "api",
    "training_curves": "delivery.curves",
    "tune": "api",
    "verify_export": "api",
    "view_classify": "api",
}

__all__ = list(_HOMES)

if TYPE_CHECKING:  # for editors and type checkers; a test holds it against the table
    from firstlight.api import check as check
    from firstlight.api import compare as compare
    from firstlight.api import compare_recipes as compare_recipes
    from firstlight.api import evaluate as evaluate
    from firstlight.api import explain as explain
    from firstlight.api import export as export
    from firstlight.api import load as load
    from firstlight.api import load_run as load_run
    from firstlight.api import pack as pack
    from firstlight.api import predict as predict
    from firstlight.api import report as report
    from firstlight.api import serve as serve
    from firstlight.api import show_batch as show_batch
    from firstlight.api import train as train
    from firstlight.api import tune as tune
    from firstlight.api import verify_export as verify_export
    from firstlight.api import view_classify as view_classify
    from firstlight.data.augment import Augment as Augment
    from firstlight.data.dataset import Dataset as Dataset
    from firstlight.data.dataset import open_dataset as open_dataset
    from firstlight.data.loader import Loader as Loader
    from firstlight.data.recipe import DataRecipe as DataRecipe
    from firstlight.data.samples import Samples as Samples
    from firstlight.data.sharding import Packed as Packed
    from firstlight.data.sources import load_data as load_data
    from firstlight.data.split import split as split
    from firstlight.delivery.check import CheckReport as CheckReport
    from firstlight.delivery.confusion_plot import confusion_matrix as confusion_matrix
    from firstlight.delivery.curves import training_curves as training_curves
    from firstlight.delivery.export.export import Exported as Exported
    from firstlight.delivery.export.verify import Verified as Verified
    from firstlight.delivery.heatmap import Heatmap as Heatmap
    from firstlight.delivery.heatmap import Heatmaps as Heatmaps
    from firstlight.delivery.plots import image_grid as image_grid
    from firstlight.delivery.plots import imshow as imshow
    from firstlight.delivery.plots import mistakes_grid as mistakes_grid
    from firstlight.errors import UserError as UserError
    from firstlight.evaluation import metrics as metrics
    from firstlight.evaluation.comparison import Comparison as Comparison
    from firstlight.evaluation.evaluate import Evaluation as Evaluation
    from firstlight.evaluation.evaluate import evaluate_logits as evaluate_logits
    from firstlight.evaluation.repeated import RecipeComparison as RecipeComparison
    from firstlight.inference.image_classifier import ImageClassifier
    from firstlight.inference.prediction import Prediction as Prediction
    from firstlight.inference.prediction import Predictions as Predictions
    from firstlight.inference.predictor import Predictor as Predictor
    from firstlight.integrations.tuning.found import Search as Search
    from firstlight.models.model_file import read_model_card as read_model_card
    from firstlight.models.model_file import save_model
    from firstlight.models.recipe import ModelRecipe as ModelRecipe
    from firstlight.training.recipe import Recipe as Recipe
    from firstlight.training.run import Run as Run

    Classifier = ImageClassifier
    save = save_model


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'firstlight' has no attribute {name!r}")
    import_module("firstlight.runtime.processors").yield_processors()  # in time for torch, which may be imported below
    module, colon, original = _HOMES[name].partition(":")
    with import_module("firstlight.runtime.interrupts").holding_interrupts():  # torch cannot be half imported
        found = import_module(f"firstlight.{module}")
    value = found if colon and not original else getattr(found, original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
