"""Runs with pictures for the report, and what a report is made of with every section that it can have."""

from dataclasses import replace

import numpy as np
import pytest

from firstlight.delivery.report.material import read_run
from firstlight.runs.outputs import SMALL_THUMBNAILS_FILE, ImageFacts, write_thumbnails
from firstlight.runs.suspects import Suspect


@pytest.fixture
def kept_run(drawable_run):
    write_thumbnails(drawable_run.folder, drawable_run.outputs.names, drawable_run.images, file=SMALL_THUMBNAILS_FILE)
    return drawable_run


@pytest.fixture
def material_named():
    """A function that returns what a report with every section is made of, in which everything has these ten names."""

    def named(run, names):
        test = run.record.test
        scores = tuple(replace(one, name=name) for one, name in zip(test.per_class, names, strict=True))
        evaluation = replace(test, classes=tuple(names), per_class=scores)
        two = (tuple({"image": name, "label": name} for name in names[:2]),)
        record = replace(run.record, source=names[2], notes=tuple(names), two_labels=two, near_two_labels=two)
        rng = np.random.default_rng(0)
        return replace(
            read_run(run.folder),
            title=names[0],
            source=names[1],
            classes=tuple(names),
            test=evaluation,
            record=replace(record, classes=tuple(names)),
            outputs=replace(
                run.outputs, names=tuple((names * 50)[:500]), strangeness=rng.random(500).astype(np.float32)
            ),
            images=dict(zip(names, run.images, strict=False)),
            facts=ImageFacts(
                rng.integers(10, 900, (500, 2)).astype(np.int32),
                rng.random(500).astype(np.float32),
                tuple((names * 50)[:500]),
            ),
            quarantined=[{"image": name, "reason": name} for name in names],
            suspects=[Suspect(name, name, names[0], 1.0, flagged=True) for name in names],
            copies=[{"group": "1", "kind": n, "image": n, "label": n, "split": n} for n in names],
        )

    return named
