"""The road: data in; a trained, honestly scored and saved model out."""

import shutil
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from firstlight.data.dataset import write_quarantine
from firstlight.data.samples import Samples
from firstlight.data.split import write_split
from firstlight.evaluation.calibration import fit_temperature
from firstlight.evaluation.evaluate import Outputs, evaluate, worst_mistakes
from firstlight.files import write_text
from firstlight.models.artefact import save_model
from firstlight.runtime.device import pick_device, require_compiler
from firstlight.training.learn import learn, outputs_on
from firstlight.training.prepare import build_classifier, find_pretrained, name_backbone, prepare_data
from firstlight.training.recipe import Recipe, to_toml
from firstlight.training.run import Run, headline
from firstlight.training.run_folder import make_run_folder, require_free
from firstlight.training.transfer.ladder import answer, learn_by_transfer

MISTAKES_KEPT = 24


def train(samples: Samples, recipe: Recipe | None = None, out: Path | str | None = None) -> Run:
    """Train a classifier: pack, split, train, choose by validation, calibrate, score once on the test split, save.

    Ctrl-C ends training early; the best model so far is kept, and the test split stays locked.

    Args:
        samples: from `load_data`.
        recipe: every choice; by default those of `Recipe()`.
        out: the run folder, new or empty; by default `runs/<name>-<n>`.

    Raises:
        UserError: if the data or the recipe cannot be used.
        TrainingError: if the loss is no longer a number; the best model so far stays in the run folder.
    """
    started = time.perf_counter()
    recipe, out = recipe or Recipe(), Path(out) if out is not None else None
    device = pick_device(recipe.device)
    require_free(out)
    if recipe.compile:
        require_compiler()
    recipe = name_backbone(samples, recipe, device)
    pretrained = find_pretrained(recipe)
    data, recipe = prepare_data(samples, recipe)
    classifier = build_classifier(data, recipe, device, pretrained)
    folder = make_run_folder(samples.name, out)
    write_text(folder / "recipe.toml", to_toml(recipe, samples.source))
    write_split(folder / "split.csv", samples, data.split, data.dropped)
    write_quarantine(folder / "quarantine.csv", samples, data.store)
    packed = time.perf_counter()
    try:
        if pretrained is None:
            learned, how = learn(folder, classifier, data, recipe), None
        else:
            learned, how = learn_by_transfer(folder, classifier, data, recipe, pretrained)
    except KeyboardInterrupt:  # before there was anything to keep: the folder is free again
        shutil.rmtree(folder, ignore_errors=True)
        raise
    seconds = {"pack": packed - started, "train": time.perf_counter() - packed}

    model, classes = learned.model, samples.classes

    def outputs(part: str) -> Outputs:
        """Run the model over `valid` or `test`, just as it will predict."""
        if pretrained is not None:
            return answer(part, learned, data, pretrained)
        return outputs_on(part, model, data)

    # note: the loop looked in the number type of training; what is reported is calculated as prediction is
    seen = outputs("valid")
    model.temperature.fill_(fit_temperature(seen.logits, seen.labels))
    temperature = model.temperature.item()
    run = Run(
        folder=folder,
        model=model,
        recipe=recipe,
        data=data,
        history=learned.history,
        best_epoch=learned.best.epoch,
        seconds=_rounded(seconds, started),
        valid=evaluate(seen.logits, seen.labels, classes, temperature=temperature),
        test=None,
        transfer=how,
    )
    save(run, test_evaluations=0)
    with suppress(KeyboardInterrupt):
        if not learned.interrupted:
            run.write_record(test_evaluations=1)  # a look is counted before it is taken
            seen = outputs("test")
            run = replace(
                run,
                test=evaluate(seen.logits, seen.labels, classes, temperature=temperature),
                mistakes=worst_mistakes(seen.logits, seen.labels, seen.rows, MISTAKES_KEPT, temperature=temperature),
                seconds=_rounded(seconds, started),
            )
            save(run, test_evaluations=1)
    return run


def save(run: Run, test_evaluations: int) -> None:
    """Write the model file and the record of a run, as far as it is scored."""
    extra = {"recipe": asdict(run.recipe)}
    if run.transfer:
        extra["weights"] = run.transfer.to_json()["weights"]
    scores = {"valid": headline(run.valid), "test": headline(run.test) if run.test else None}
    save_model(run.folder / "model.safetensors", run.model, scores=scores, extra=extra)
    run.write_record(test_evaluations)


def _rounded(seconds: dict[str, float], started: float) -> dict[str, float]:
    return {name: round(value, 3) for name, value in (seconds | {"total": time.perf_counter() - started}).items()}
