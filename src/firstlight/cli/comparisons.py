"""A comparison for a person: the verdict, a table of the scores, and the classes that differ."""

from firstlight.cli.layout import columns, counted
from firstlight.escaping import escape_name
from firstlight.evaluation.comparison import Comparison, p_words, signed
from firstlight.evaluation.repeated import RecipeComparison

MAX_CLASSES = 10  # of those that differ; --json holds them all
MAX_NAME = 32  # characters of a class


def comparison_lines(found: Comparison | RecipeComparison) -> list[str]:
    """Return what a person reads about a comparison of models or of recipes, line by line."""
    lines = _model_lines(found) if isinstance(found, Comparison) else _recipe_lines(found)
    return [found.headline, *lines, *(f"note: {note}" for note in found.notes)]


def _model_lines(found: Comparison) -> list[str]:
    rows = [("", "a", "b", "b minus a, 95% interval")]
    rows += [(name, f"{a:.3f}", f"{b:.3f}", signed(difference)) for name, a, b, difference in found.scores()]
    return [
        *(f"  {letter}: {escape_name(model)}" for letter, model in zip("ab", found.models, strict=True)),
        *(f"  {line}" for line in columns(rows, right=(1, 2))),
        f"  right: both {found.both_right:,}, only a {found.only_a:,}, only b {found.only_b:,}, "
        f"neither {found.both_wrong:,}",
        *_class_lines(found),
    ]


def _recipe_lines(found: RecipeComparison) -> list[str]:
    rows = [("accuracy", *(f"seed {seed}" for seed in range(found.seeds)), "mean")]
    for letter, scores in zip("ab", found.accuracy, strict=True):
        rows.append((letter, *(f"{score:.3f}" for score in scores), f"{sum(scores) / found.seeds:.3f}"))
    return [
        *(f"  {letter}: {escape_name(recipe)}" for letter, recipe in zip("ab", found.recipes, strict=True)),
        *(f"  {line}" for line in columns(rows, right=range(1, found.seeds + 2))),
        f"  accuracy, b minus a  {signed(found.accuracy_difference)}",
        f"  log loss, b minus a  {signed(found.log_loss_difference)}",
        f"  {found.spread_words}",
    ]


def _class_lines(found: Comparison) -> list[str]:
    """Return a table of the classes that differ beyond chance."""
    looked = f"corrected for {counted(len(found.per_class), 'class')}"
    differing = found.differing_classes
    if not differing:
        return [f"no class differs beyond chance by itself, {looked}"]
    rows = [("class", "pictures", "recall a", "recall b", "b minus a", "p")]
    for one in differing[:MAX_CLASSES]:
        a, b = (f"{recall:.3f}" for recall in one.recall)
        name, count = escape_name(one.name, MAX_NAME), f"{one.difference.n:,}"
        rows.append((name, count, a, b, signed(one.difference), p_words(one.p).removeprefix("= ")))
    more = len(differing) - MAX_CLASSES
    return [
        f"classes that differ beyond chance, {looked}:",
        *(f"  {line}" for line in columns(rows, right=(1, 2, 3))),
        *[f"  and {more:,} more; --json lists them all"] * (more > 0),
    ]
