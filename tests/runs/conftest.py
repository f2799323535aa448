"""A small real record, with all that a record can hold."""

import pytest
import torch

from firstlight.evaluation.evaluate import evaluate_logits
from firstlight.evaluation.intervals import proportion
from firstlight.runs.record import CurvePoint, LearningCurve, Record, Rung, TransferRecord


@pytest.fixture
def transfer() -> TransferRecord:
    points = tuple(CurvePoint(count, proportion(right, 20), 1 / count) for count, right in ((5, 9), (10, 14), (20, 17)))
    return TransferRecord(
        backbone="timm:test_resnet",
        weights={"source": "tiny.safetensors", "license": "apache-2.0", "sha256": "0" * 64},
        strategy="linear head",
        ladder=(Rung("majority class", proportion(2, 20), 0.0), Rung("linear head", proportion(17, 20), 1.25)),
        case={"images": "few", "domain": "far", "drop": 0.5, "confidence": None, "advice": "more pictures help most"},
        learning_curve=LearningCurve(points, ((40, 0.9), (80, 0.925))),
        head={"strength": 0.1},
    )


@pytest.fixture
def record(transfer) -> Record:
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 3
    classes = ("cat", "dog", "bird \udcff")
    return Record(
        source="pets",
        source_key="c8dd1e",
        classes=classes,
        n={"train": 60, "valid": 20, "test": 20},
        quarantined=1,
        leaks=1,
        dropped=2,
        notes=("a note", "é, and a name that is no text: \udc80"),
        epochs=4,
        best_epoch=3,
        seconds={"pack": 0.5, "train": 2.0, "total": 3.0},
        valid=evaluate_logits(logits, labels, classes, temperature=1.5),
        test=evaluate_logits(-logits, labels, classes, temperature=1.5),
        test_evaluations=1,
        leaked=(("cat/\udcff.png", "dog/1.png"),),
        resize="crop:0.875",
        transfer=transfer,
    )
