"""The commands: one dataclass each, whose fields are its options.

Nothing heavy is imported before a command that needs it runs, so that `--help` answers at once.
"""

from firstlight.cli.commands.check import Check
from firstlight.cli.commands.compare import Compare
from firstlight.cli.commands.evaluate import Evaluate
from firstlight.cli.commands.explain import Explain
from firstlight.cli.commands.export import Export
from firstlight.cli.commands.guide import Guide
from firstlight.cli.commands.pack import Pack
from firstlight.cli.commands.predict import Predict
from firstlight.cli.commands.report import Report
from firstlight.cli.commands.serve import Serve
from firstlight.cli.commands.train import Train
from firstlight.cli.commands.tune import Tune

__all__ = [
    "Check",
    "Compare",
    "Evaluate",
    "Explain",
    "Export",
    "Guide",
    "Pack",
    "Predict",
    "Report",
    "Serve",
    "Train",
    "Tune",
]
