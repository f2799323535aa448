"""`Search`: what a search found, and whether its winner is better than the recipe that it began with."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.delivery.wording import counted
from firstlight.evaluation.best_of_many import BestOfMany, best_against_one, optimism
from firstlight.evaluation.comparison import p_words
from firstlight.integrations.tuning.trials import TRIALS_FILE, Trial, finished, ranked, written
from firstlight.tables import Html, data_frame
from firstlight.training.recipe import Recipe
from firstlight.training.run import Run

if TYPE_CHECKING:
    from pandas import DataFrame

BEST_FILE = "best.toml"
FIGURE_FILE = "tune.png"


@dataclass(frozen=True, repr=False)
class Search:
    """What a search over recipes found.

    Attributes:
        folder: holds `trials.csv`, `best.toml`, `tune.png`, and the runs of the winner and of the default.
        trials: the best first; those that failed last.
        asked: how many were to be made.
        searched: the names of the choices that were searched.
        recipe: of the winner, complete.
        run: of the winner, scored once on the test split; None if another machine has it.
        interrupted: whether Ctrl-C ended the search early; the test split is then not scored.
        notes: what a person should know.
    """

    folder: Path
    trials: tuple[Trial, ...]
    asked: int
    searched: tuple[str, ...]
    recipe: Recipe
    run: Run | None
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def winner(self) -> Trial:
        """The trial with the highest accuracy on validation; among equals, with the lowest log loss."""
        return finished(self.trials)[0]

    @property
    def default(self) -> Trial | None:
        """The trial with the recipe that the search began with; None if it failed."""
        return next((trial for trial in finished(self.trials) if trial.is_default), None)

    @cached_property
    def comparison(self) -> BestOfMany | None:
        """The winner against the default on the same images; None if the default won, failed, or is not known well."""
        default, winner = self.default, self.winner
        if default is None or winner.is_default or default.hits is None or winner.hits is None:
            return None
        return best_against_one(winner.hits, default.hits, len(finished(self.trials)) - 1)

    @cached_property
    def optimism(self) -> float | None:
        """How much too high the winner's accuracy on validation is, because it decided who won; None if unknown."""
        hits = [trial.hits for trial in finished(self.trials) if trial.hits is not None]
        return optimism(hits) if len(hits) > 1 else None

    @property
    def is_better(self) -> bool:
        """Whether the winner is better than the default beyond chance."""
        return self.comparison is not None and self.comparison.is_better

    @property
    def headline(self) -> str:
        """Whether the search paid off, in one or two sentences."""
        found, done = self.comparison, len(finished(self.trials))
        if done == 1:
            only = f"only {self.winner.name} was trained to the end, so there is nothing to compare"
            return f"{only}; allow more trials, or more time"
        if self.winner.is_default:
            others = f"none of {done - 1:,} other trials did" if done > 2 else "the other trial did no"
            return f"keep the default: {others} better on validation"
        if self.default is None or found is None:
            return f"{self.winner.name} did best on validation; it was not compared with the default"
        if found.difference.value <= 0:
            return f"keep the default: {self.winner.name} gets no more validation pictures right, at a lower log loss"
        low, high = 100 * found.difference.low, 100 * found.difference.high
        more = (
            f"{100 * found.difference.value:.1f} points more of {found.n:,} validation pictures right "
            f"[{low:z.1f}, {high:z.1f}]"
        )
        compared = f"p {p_words(found.p)}, corrected for {counted(found.candidates, 'comparison')}"
        if found.is_better:
            return f"{self.winner.name} is better than the default: it gets {more} ({compared})"
        seen = "" if found.detectable is None else f"; a difference of {100 * found.detectable:.1f} points would show"
        return (
            f"keep the default: {self.winner.name} gets {more}, which may be chance, since the best of {done:,} was "
            f"picked ({compared}{seen})"
        )

    @property
    def title(self) -> str:
        """What a figure of the trials is called."""
        verdict = "better than the default" if self.is_better else "keep the default"
        return f"{len(self.trials):,} trials, validation accuracy: {verdict}"

    @property
    def optimism_words(self) -> str:
        """How far the winner's score on validation is to be trusted; empty if there was nothing to pick from."""
        if self.optimism is None or self.winner.accuracy is None:
            return ""
        expected = self.winner.accuracy.value - self.optimism
        return (
            f"the validation accuracy of {self.winner.name} is a little too high, because it decided which trial won; "
            f"expect about {expected:.3f}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each trial, the best first, with a column for each choice that was searched."""
        rows = []
        for trial in ranked(self.trials):
            value = trial.to_json()
            accuracy = value.pop("accuracy") or {"value": None, "low": None, "high": None, "n": None}
            accuracy["accuracy"] = accuracy.pop("value")
            del value["choices"]
            chosen = {name: trial.choices.get(name) for name in self.searched}
            rows.append({**value, **accuracy, **chosen})
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return what `firstlight tune` prints as JSON."""
        return {
            "folder": str(self.folder),
            "recipe": str(self.folder / BEST_FILE),
            "table": str(self.folder / TRIALS_FILE),
            "headline": self.headline,
            "is_better": self.is_better,
            "comparison": None if self.comparison is None else self.comparison.to_json(),
            "optimism": self.optimism,
            "winner": self.winner.number,
            "asked": self.asked,
            "interrupted": self.interrupted,
            "trials": [trial.to_json() for trial in ranked(self.trials)],
            "run": None if self.run is None else self.run.to_json(),
            "notes": list(self.notes),
        }

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each trial, the best first.

        Raises:
            UserError: if pandas is not installed.
        """
        return data_frame(self.rows())

    def __repr__(self) -> str:
        return f"Search({str(self.folder)!r}, {len(self.trials):,} trials, {self.headline})"

    def _repr_html_(self) -> str:
        """Show the search in a notebook."""
        rows = [
            {
                "trial": trial.number,
                "validation accuracy": trial.status if trial.accuracy is None else str(trial.accuracy),
                "seconds": round(trial.seconds, 1),
                **{name: written(trial.choices.get(name, "")) for name in self.searched},
            }
            for trial in ranked(self.trials)
        ]
        return Html(self.headline).table(rows).notes([self.optimism_words, *self.notes]).text()
