"""Comparison of two runs or models: both are matched to the same images, by name and content, or refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.samples import SPLIT_WORDS, Samples, Split
from firstlight.data.split import read_split
from firstlight.delivery.evaluate import evaluate_model
from firstlight.errors import DataError, RecipeError, RunError, UserError
from firstlight.escaping import escape_name, list_names
from firstlight.evaluation.comparison import SPLIT_NAMES, Comparison, compare_logits, log_losses
from firstlight.evaluation.repeated import RecipeComparison, compare_repeated
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import read_model_card
from firstlight.runs.folder import RECORD_FILE, SPLIT_FILE
from firstlight.runs.outputs import Outputs, outputs_file, read_outputs
from firstlight.runs.record import count_test_evaluation, read_record

VALIDATION_NOTE = (
    "validation also chose the epoch and the temperature of both models, so both scores are a little too high; for the "
    "last word, compare once on the test split, with `split` test"
)
LOCKED_NOTE = (
    "validation also chose the epoch of every run; the test split stayed locked, to be scored once, with "
    "`firstlight evaluate`, when you have chosen"
)
NAMES_ONLY_NOTE = (
    "at least one of the runs is of an earlier version that kept no digests of its pictures: they are matched by name "
    "and label only"
)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said about some images.

    Attributes:
        model: its name, for people.
        classes: the K names.
        temperature: by which its logits are divided.
        outputs: the images, and the logits.
        content_key: of the set of images; empty if it is not known.
        run: its run folder; None if it has none.
    """

    model: str
    classes: tuple[str, ...]
    temperature: float
    outputs: Outputs
    content_key: str = ""
    run: Path | None = None


def compare_runs(a: Path, b: Path, split: str = "valid") -> Comparison:
    """Compare two finished runs by what they said about their own split; neither images nor models are needed.

    Args:
        a: a run folder, or the model file in it.
        b: likewise.
        split: `valid` or `test`. Comparing on `test` counts as one more evaluation of it, in the records of both.

    Raises:
        RunError: if a run is missing or damaged, or has no outputs of this split.
        DataError: if the runs were not scored on the same images, or do not have the same classes.
    """
    _require_two(a, b)
    if split not in ("valid", "test"):
        raise RecipeError("choose valid or test; other pictures need a source", field="split", value=split)
    first, second = _answers_of_run(a, split), _answers_of_run(b, split)
    found = _compared(first, second, split)
    if split == "valid":
        return found
    counts = [(one.model, count_test_evaluation(one.run)) for one in (first, second) if one.run]
    return _noted(found, [_counted_words(model, count) for model, count in counts if count])


def compare_models(
    models: Mapping[str, Path | Classifier], samples: Samples, *, split: str = "valid", **choices: Any
) -> Comparison:
    """Compare two models by scoring both on a split of a set.

    Args:
        models: two, by their names for people: a `model.safetensors`, or a classifier in memory.
        samples: from `load_data`.
        split: `valid`, `test` or `all`: of the `split.csv` beside the models if they are of this set, else its own.
        choices: the others of `evaluate_model`.

    Raises:
        DataError: if the models would be scored on different images, or do not have the same classes.
        ModelFileError: if a model cannot be loaded.
        RecipeError: if `split` is none of these words.
    """
    if len(models) < 2:
        raise UserError(f"{next(iter(models))} is compared with itself; give two different ones")
    _require_two(*models.values())
    if split not in ("valid", "test", "all"):
        raise RecipeError("choose valid, test or all", field="split", value=split)
    one, other = ((name, _classes_of(model)) for name, model in models.items())
    _require_same_classes(one, other)  # before the test split of either is scored, which counts
    tables = {name: _table_of(model, samples) for name, model in models.items()}
    notes = _notes_on_training(tables, split)
    answers = []
    for name, table in zip(models, reversed(tables.values()), strict=True):
        score = evaluate_model(models[name], samples, split=split, other_split=table, **choices)
        answers.append(Answers(name, score.evaluation.classes, score.evaluation.temperature, score.outputs))
        if score.test_evaluations:
            notes.append(_counted_words(name, score.test_evaluations))
    first, second = answers
    return _noted(_compared(first, second, split), notes)


def compare_seeds(recipes: Mapping[str, Sequence[Path]], split: str = "valid") -> RecipeComparison:
    """Compare two recipes by the outputs of their runs, as many of each, which have the same split.

    Args:
        recipes: the run folders of each, by the names of the recipes for people.
        split: which split.

    Raises:
        RunError: if a run is missing or damaged, or has no outputs of this split.
        DataError: if the runs were not scored on the same images, or do not have the same classes.
    """
    answers = [[_answers_of_run(folder, split) for folder in folders] for folders in recipes.values()]
    reference = answers[0][0]
    labels, right, losses = reference.outputs.labels, [], []
    for group in answers:
        logits = [_aligned(reference, one, split)[0] for one in group]
        right.append(np.stack([values.argmax(axis=1) == labels for values in logits]))
        pairs = zip(logits, group, strict=True)
        losses.append(np.stack([log_losses(values, one.temperature, labels) for values, one in pairs]))
    a, b = recipes
    found = compare_repeated((right[0], right[1]), (losses[0], losses[1]), recipes=(a, b), split=split)
    folders = tuple(tuple(map(str, group)) for group in recipes.values())
    return replace(found, runs=(folders[0], folders[1]), notes=(LOCKED_NOTE,))


def _compared(a: Answers, b: Answers, split: str) -> Comparison:
    """Return the comparison of what two models said, with images and classes in the order of `a`.

    Raises:
        DataError: if images, labels or classes are not the same, or a logit is not finite.
    """
    others, notes = _aligned(a, b, split)
    logits, temperatures = (a.outputs.logits, others), (a.temperature, b.temperature)
    found = compare_logits(
        a.outputs.labels,
        logits,
        a.classes,
        temperatures=temperatures,
        models=(a.model, b.model),
        images=a.outputs.names,
        split=split,
    )
    if np.array_equal(*logits) and temperatures[0] == temperatures[1]:
        notes.append("both gave exactly the same answers: they may be one and the same model")
    return _noted(found, [*notes, *[VALIDATION_NOTE] * (split == "valid")])


def _aligned(a: Answers, b: Answers, split: str) -> tuple[NDArray[np.float32], list[str]]:
    """Return the logits of `b` with images and classes in the order of `a`, float32 `[n, K]`, and notes.

    Raises:
        DataError: if images, labels or classes are not the same.
    """
    columns = _matched_classes(a, b)
    places, notes = _matched_images(a, b, split)
    labels, other = a.outputs.labels, np.argsort(columns)[b.outputs.labels[places]]
    if (differ := np.flatnonzero(labels != other)).size:
        row = int(differ[0])
        raise DataError(
            f"{differ.size:,} of {len(labels):,} pictures have different labels, such as "
            f"{escape_name(a.outputs.names[row])}: {escape_name(a.classes[labels[row]])} in {escape_name(a.model)}, "
            f"{escape_name(a.classes[other[row]])} in {escape_name(b.model)}; give a source; its labels then count"
        )
    return np.ascontiguousarray(b.outputs.logits[places][:, columns]), notes


def _noted(found: Comparison, notes: list[str]) -> Comparison:
    return replace(found, notes=(*found.notes, *notes))


def _matched_classes(a: Answers, b: Answers) -> NDArray[np.int64]:
    """Return for each class of `a` its place among those of `b`, int64 `[K]`."""
    _require_same_classes((a.model, a.classes), (b.model, b.classes))
    place = {name: index for index, name in enumerate(b.classes)}
    return np.array([place[name] for name in a.classes], np.int64)


def _require_same_classes(a: tuple[str, Sequence[str]], b: tuple[str, Sequence[str]]) -> None:
    """Refuse two models, each by its name and its classes, that do not know the same ones."""
    lacking = [
        f"{escape_name(name)} does not know {list_names(missing)}"
        for (name, known), (_, asked) in ((a, b), (b, a))
        if (missing := [each for each in asked if each not in set(known)])
    ]
    if lacking:
        raise DataError(f"{'; '.join(lacking)}; only models with the same classes can be compared")


def _classes_of(model: Path | Classifier) -> tuple[str, ...]:
    return model.classes if isinstance(model, Classifier) else read_model_card(model).classes


def _matched_images(a: Answers, b: Answers, split: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return where each image of `a` is in `b`, int64 `[n]`, and notes."""
    digested = a.outputs.digests is not None and b.outputs.digests is not None
    keys, other_keys = (_keys(one.outputs, digested=digested) for one in (a, b))
    place = {key: index for index, key in enumerate(other_keys)}
    same = sum(key in place for key in keys)
    if same < max(len(keys), len(other_keys)):
        raise _other_images(a, b, same, split)
    unsure = not digested and not (a.content_key and a.content_key == b.content_key)
    return np.array([place[key] for key in keys], np.int64), [NAMES_ONLY_NOTE] * unsure


def _other_images(a: Answers, b: Answers, same: int, split: str) -> DataError:
    first, second, which = escape_name(a.model), escape_name(b.model), SPLIT_NAMES.get(split, "")
    counts = f"{len(a.outputs):,} and {len(b.outputs):,} {which} pictures".replace("  ", " ")
    names = len(set(a.outputs.names) & set(b.outputs.names))
    content = f" ({names:,} have the same name)" if names > same else ""
    table = f"`split` {escape_name(str(a.run / SPLIT_FILE))}" if a.run else "the same `split`"
    return DataError(
        f"{first} and {second} answered different pictures: {same:,} of {counts} are the same{content}; train one "
        f"again with {table}, or give a source that neither was trained on"
    )


def _keys(outputs: Outputs, *, digested: bool) -> list[tuple[str, int, int]]:
    """Return what identifies each image: its name, its digest, and how often both came before in the same list."""
    seen: Counter[tuple[str, int]] = Counter()
    digests = outputs.digests.tolist() if digested and outputs.digests is not None else [0] * len(outputs)
    keys = []
    for key in zip(outputs.names, digests, strict=True):
        keys.append((*key, seen[key]))
        seen[key] += 1
    return keys


def _answers_of_run(path: Path, split: str) -> Answers:
    folder = path if path.is_dir() else path.parent
    if not (folder / RECORD_FILE).is_file():
        raise RunError(f"{path}: there is no finished run here; give a run folder, or a source to score the model on")
    record = read_record(folder)
    if split == "test" and record.test is None:
        raise RunError(f"{folder}: its test split was left locked; compare on valid, or give the source")
    outputs = read_outputs(folder, split)
    known = len(record.classes)
    if outputs.logits.shape[1] != known or not ((outputs.labels >= 0) & (outputs.labels < known)).all():
        raise RunError(f"{outputs_file(folder, split)}: it does not go with the record of this run; it is damaged")
    return Answers(str(path), record.classes, record.valid.temperature, outputs, record.source_key, folder)


def _counted_words(model: str, count: int) -> str:
    times = "once" if count == 1 else f"{count:,} times"
    return f"this counts: the test split of {escape_name(model)} has now been scored {times}"


def _require_two(a: Path | Classifier, b: Path | Classifier) -> None:
    same = a.resolve() == b.resolve() if isinstance(a, Path) and isinstance(b, Path) else a is b
    if same:
        raise UserError(f"{a if isinstance(a, Path) else 'a model'} is compared with itself; give two different ones")


def _table_of(model: Path | Classifier, samples: Samples) -> dict[str, int]:
    """Return the split that the run of a model made of this set, by the images' names; nothing if it made none."""
    file = model.file if isinstance(model, Classifier) else model
    table = file.parent / SPLIT_FILE if file else None
    if table is None or not table.is_file():
        return {}
    split = read_split(table)
    return split if split.keys() <= set(samples.names) else {}


def _notes_on_training(tables: Mapping[str, Mapping[str, int]], split: str) -> list[str]:
    """Return notes on which of the images a model may have been trained on.

    Raises:
        DataError: if the runs split this set differently, before any test split is scored.
    """
    if split == "all":
        counts = {name: sum(part == Split.TRAIN for part in table.values()) for name, table in tables.items()}
        return [
            f"{escape_name(name)} was trained on {count:,} of these pictures, so it looks better than it is"
            for name, count in counts.items()
            if count
        ]
    parts = {
        name: {image for image, part in table.items() if part == SPLIT_WORDS[split]} for name, table in tables.items()
    }
    (a, first), (b, second) = parts.items()
    if first and second and first != second:
        raise DataError(
            f"{escape_name(a)} and {escape_name(b)} were split differently: {len(first & second):,} of {len(first):,} "
            f"and {len(second):,} {SPLIT_NAMES[split]} pictures are the same; train one again with `split` set to the "
            "split.csv of the other, or give a source that neither was trained on"
        )
    if bool(first) == bool(second):
        return []
    return [f"{escape_name(b if first else a)} has no split of this set, so it may have been trained on these pictures"]
