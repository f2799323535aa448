"""The commands as Python functions, and functions that load and show models and runs."""

from firstlight.api.check import check
from firstlight.api.compare import compare, compare_recipes
from firstlight.api.evaluate import evaluate
from firstlight.api.explain import explain
from firstlight.api.export import export
from firstlight.api.load import load, load_run
from firstlight.api.pack import pack
from firstlight.api.predict import predict
from firstlight.api.report import report
from firstlight.api.serve import serve
from firstlight.api.train import train
from firstlight.api.tune import tune
from firstlight.api.verify_export import verify_export
from firstlight.api.view import show_batch, view_classify

__all__ = [
    "check",
    "compare",
    "compare_recipes",
    "evaluate",
    "explain",
    "export",
    "load",
    "load_run",
    "pack",
    "predict",
    "report",
    "serve",
    "show_batch",
    "train",
    "tune",
    "verify_export",
    "view_classify",
]
