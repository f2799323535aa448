"""A search over recipes for a person: the verdict, the table of trials, and where everything is."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.cli.layout import columns
from firstlight.escaping import escape_name

if TYPE_CHECKING:
    from firstlight.integrations.tuning.found import Search
    from firstlight.integrations.tuning.trials import Trial

MAX_TRIALS = 20  # of the table; trials.csv and --json hold them all
MAX_REASON = 80  # characters


def search_lines(found: "Search") -> list[str]:
    """Return what a person reads about a search, line by line."""
    run, folder = found.run, found.folder
    lines = [found.headline, *filter(None, [found.optimism_words]), *_table(found)]
    if run is not None and run.test is not None:
        lines.append(f"test accuracy of {found.winner.name}, scored once  {run.test.accuracy}")
    elif found.interrupted:
        lines.append("interrupted: the best trial so far is kept, without a test score")
    lines += [f"note: {note}" for note in found.notes]
    lines.append(f"  trials   {folder / 'trials.csv'}, {folder / 'tune.png'}")
    lines.append(f"  recipe   {folder / 'best.toml'}")
    if run is not None:
        lines.append(f"  run      {run.folder}")
    default = None if found.default is None or found.winner.is_default else folder / Path(found.default.folder).name
    if default is not None and default.is_dir():
        lines.append(f"  default  {default}")
        if run is not None and not found.interrupted:
            pair = f"{shlex.quote(str(default))} {shlex.quote(str(run.folder))}"
            lines.append(f"whether other seeds agree: firstlight compare {pair} --seeds 5")
    return lines


def _table(found: "Search") -> list[str]:
    from firstlight.integrations.tuning.trials import written

    shown = [trial for trial in found.trials[:MAX_TRIALS] if trial.status != "failed"]
    shown += [trial for trial in found.trials[MAX_TRIALS:] if trial.is_default]
    varied = [name for name in found.searched if any(name in trial.choices for trial in shown)]
    rows: list[tuple[str, ...]] = [("trial", "validation accuracy", "seconds", *varied, "")]
    for trial in shown:
        accuracy = trial.accuracy
        score = "" if accuracy is None else f"{accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
        drawn = (escape_name(written(trial.choices.get(name, "-"))) for name in varied)
        rows.append((str(trial.number), score, f"{trial.seconds:.1f}", *drawn, _remark(trial, found)))
    more = len([trial for trial in found.trials if trial.status != "failed"]) - len(shown)
    failed = [trial for trial in found.trials if trial.status == "failed"]
    return [
        *(f"  {line}" for line in columns(rows, right=(0, *range(2, 3 + len(varied))))),
        *[f"  and {more:,} more; trials.csv lists them all"] * (more > 0),
        *(f"  {trial.name} failed: {escape_name(trial.reason, MAX_REASON)}" for trial in failed[:MAX_TRIALS]),
    ]


def _remark(trial: "Trial", found: "Search") -> str:
    words = []
    if trial.number == found.winner.number:
        words.append("<- winner")
    if trial.is_default:
        words.append("<- the default")
    if trial.status == "stopped early":
        words.append(f"stopped after epoch {trial.epochs}")
    if trial.status == "running":
        words.append("running")
    return ", ".join(words)
