"""A goal about trust, what was measured, and how both are shown; the parts, in the order of the page.

Each part is a module here with `measure(seeds: range, data_root: Path) -> Iterator[Goal]`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

PARTS = ("strangers", "sets", "calibration", "labels", "shortcuts", "compare", "heatmaps")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal and what was measured.

    Attributes:
        name: what is measured, on which set.
        value: the mean over the seeds.
        low: lower end of its interval, or the lowest seed.
        high: upper end, or the highest.
        n: how many runs, draws, or images it is from.
        least: the goal is a value of at least this; None if there is no lower limit.
        most: the goal is a value of at most this; None if there is no upper limit. Without both, it is only told.
        peer: what the peer got in the same run, as `cleanlab 2.9: 0.69`; empty if there is none.
        note: anything else, in a few words.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    least: float | None = None
    most: float | None = None
    peer: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is none."""
        if self.least is None and self.most is None:
            return None
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


def row(goal: Goal) -> str:
    """Return a row of a Markdown table: name, value, interval, n, goal, met, peer, note."""
    interval = "" if goal.low is None or goal.high is None else f"[{goal.low:.3g}, {goal.high:.3g}]"
    wanted = " and ".join(
        f"{words} {limit:g}" for words, limit in (("at least", goal.least), ("at most", goal.most)) if limit is not None
    )
    met = {True: "met", False: "**missed**", None: ""}[goal.met]
    cells = (goal.name, f"{goal.value:.4g}", interval, goal.n or "", wanted, met, goal.peer, goal.note)
    return f"| {' | '.join(map(str, cells))} |"


def page(results: Path) -> str:
    """Return the section of the page of results that is about trust."""
    lines = ["## Trust (`trust.py`)", ""]
    for part in PARTS:
        file = results / f"trust-{part}.jsonl"
        if not file.exists():
            continue
        goals = [Goal(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]
        lines += [f"### {part}", "", "| measured | value | interval | n | goal | | peer | |", "| --- " * 8 + "|"]
        lines += [*map(row, goals), ""]
    return "\n".join(lines)
