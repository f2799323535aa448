"""The figure of a search: the validation accuracy of each trial with its interval."""

from collections.abc import Sequence
from pathlib import Path

from firstlight.delivery.ladder_plots import ladder
from firstlight.delivery.plots import save_figure
from firstlight.delivery.style import theme_of
from firstlight.integrations.tuning.found import FIGURE_FILE
from firstlight.integrations.tuning.trials import Trial, ranked
from firstlight.runs.record import Rung

MOST_ROWS = 30


def draw_search(folder: Path, trials: Sequence[Trial], title: str) -> Path:
    """Draw the trials with a score, the best ones on top, with a line at the default; return the path of the figure.

    Args:
        folder: where it is written.
        trials: at least one has a score.
        title: above it.
    """
    scored = [trial for trial in ranked(trials) if trial.accuracy is not None]
    shown = scored[:MOST_ROWS]
    shown += [trial for trial in scored[MOST_ROWS:] if trial.is_default]
    rungs = [
        Rung(_label(trial), trial.accuracy, trial.seconds, trial.epochs)
        for trial in shown
        if trial.accuracy is not None
    ]
    axes = ladder(rungs, rungs[0].name, n=rungs[0].accuracy.n, title=title)
    default = next((trial for trial in scored if trial.is_default), None)
    if default is not None and default.accuracy is not None:
        at, theme = 100 * default.accuracy.value, theme_of(axes)
        axes.axvline(at, color=theme.quiet, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    words = "; ".join(f"{rung.name}: {rung.accuracy}" for rung in rungs)
    return save_figure(axes, folder / FIGURE_FILE, description=f"validation accuracy of each trial. {words}")


def _label(trial: Trial) -> str:
    if trial.is_default:
        return f"{trial.name}, the default"
    return f"{trial.name}, stopped early" if trial.status == "stopped early" else trial.name
