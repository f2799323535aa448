"""`Card`: what is known of a model, as plain facts; the server's `/model` and the Markdown model card say the same.

A card claims nothing beyond the model file and, where the file lies in the folder of its run, the record of that run.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from firstlight.delivery.share.findings import findings_of
from firstlight.delivery.share.limits import limits_of
from firstlight.delivery.share.making import making_of
from firstlight.delivery.share.markdown import card_as_markdown
from firstlight.delivery.share.scores import CardTrust, Headline, headline_of, stated_headline, trust_of
from firstlight.evaluation.intervals import Estimate
from firstlight.models.hub import repository_of
from firstlight.models.model_file import ModelCard, digest_of, read_model_card
from firstlight.runs.folder import MODEL_FILE, RECORD_FILE, model_file
from firstlight.runs.record import Record, read_record

if TYPE_CHECKING:
    from firstlight.models.classifier import Classifier

UNKNOWN = "unknown"
MOST_CLASSES = 20  # whose scores a card lists
_BARE_NAME = re.compile(r"[^/\\]+(?=[/\\]*$)")


@dataclass(frozen=True, kw_only=True)
class ClassLine:
    """How well one class is recognized on the test pictures: their number, and scores with 95% intervals."""

    name: str
    n: int
    precision: Estimate
    recall: Estimate


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """The weights that training began with; what is not known is `unknown`."""

    source: str
    license: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a model.

    Attributes:
        name: of the run, or of the file.
        architecture: the network by name, with its choices.
        classes: the K names, in the order of the probabilities.
        input_size: channels, height and width that pictures are brought to.
        resize: how: `crop`, `crop:0.875`, `pad` or `squash`.
        sha256: the digest in the model file's header; None for a model that was not loaded from a file.
        source: what it was trained on, without the folder; None if there is no record.
        images: how many pictures `train`, `valid` and `test` had; None if there is no record.
        test: scores on pictures that took no part in training; None if it was not scored on any.
        valid: scores on the pictures that chose the model, and so a little too good; None if not known.
        test_evaluations: how often the test split has been scored; None if there is no record.
        worst_classes: the classes with the lowest F1 on the test split, at most 20.
        trust: when the model is unsure; None if it cannot tell.
        findings: what is known about the pictures: shortcuts, doubtful labels, copies, notes; a sentence each.
        limits: what it cannot do, a sentence each.
        making: how it was made, by name, for people.
        weights: what training began with; None if it began with random numbers, or that is not known.
        license: of the model; whoever shares it decides, so it is `unknown`.
        versions: of firstlight, torch and python, when it was written.
    """

    name: str
    architecture: dict[str, Any]
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    resize: str
    sha256: str | None = None
    source: str | None = None
    images: dict[str, int] | None = None
    test: Headline | None = None
    valid: Headline | None = None
    test_evaluations: int | None = None
    worst_classes: tuple[ClassLine, ...] = ()
    trust: CardTrust | None = None
    findings: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    making: dict[str, str]
    weights: PretrainedWeights | None = None
    license: str = UNKNOWN
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and finite numbers; `scores` has those of `test` and `valid`."""
        plain = msgspec.to_builtins(self)
        plain["scores"] = {split: plain.pop(split) for split in ("test", "valid")}
        value: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
        return value

    def to_markdown(self, repository: str = "") -> str:
        """Return the model card as Markdown, with the YAML head of the Hugging Face Hub.

        Args:
            repository: where the model is on the hub, such as `ada/birds`; empty if it is not there.
        """
        return card_as_markdown(self, repository)


def card_of(model: "Classifier | Path | str") -> Card:
    """Return what is known of a model, from its file and, if that lies in the folder of its run, from its record.

    Args:
        model: a model file, a run folder, or a classifier.

    Raises:
        ModelFileError: if the file cannot be read.
        RunError: if the record beside it is damaged.
    """
    if isinstance(model, Path | str):
        file = model_file(Path(model))
        return _card_of_file(file, read_model_card(file))
    if model.file is not None and digest_of(model) is not None:  # else it has changed since
        return _card_of_file(Path(model.file), read_model_card(model.file))
    trust = None if model.trust is None else trust_of(model.trust.header(), None)
    return Card(
        name="model",
        architecture=model.architecture,
        classes=model.classes,
        input_size=model.input_size,
        resize=model.resize,
        trust=trust,
        limits=limits_of(model.classes, trust=trust),
        making={},
        versions={},
    )


def name_of(file: Path) -> str:
    """Return what to call the model in a file: by its run, its repository on the hub, or else the file itself."""
    if (repository := repository_of(file)) is not None:
        return repository.rpartition("/")[2]
    named_after = file.absolute().parent if file.name == MODEL_FILE else file
    return named_after.name.removesuffix(".safetensors") or file.stem


def _card_of_file(file: Path, header: ModelCard) -> Card:
    record = _record_beside(file, header)
    stated = header.scores or {}
    test = headline_of(record.test) if record else stated_headline(stated.get("test"))
    valid = headline_of(record.valid) if record else stated_headline(stated.get("valid"))
    trust = trust_of(header.trust, record.trust if record else None) if header.trust else None
    weights = _weights_of(header)
    return Card(
        name=name_of(file),
        architecture=header.architecture,
        classes=header.classes,
        input_size=header.input_size,
        resize=header.resize,
        sha256=header.sha256,
        source=_bare(record.source) if record else None,
        images={split: record.n[split] for split in ("train", "valid", "test")} if record else None,
        test=test,
        valid=valid,
        test_evaluations=record.test_evaluations if record else None,
        worst_classes=_worst_classes(record) if record else (),
        trust=trust,
        findings=tuple(findings_of(record)) if record else (),
        limits=limits_of(header.classes, trust=trust, test=test, record=record),
        making=making_of(header, record),
        weights=weights,
        versions={str(name): str(number) for name, number in header.versions.items()},
    )


def _record_beside(file: Path, header: ModelCard) -> Record | None:
    """Return the record of the run that made a model; None if there is none, or it is of another model."""
    if file.name != MODEL_FILE or not (file.parent / RECORD_FILE).is_file():
        return None
    record = read_record(file.parent)
    stated = stated_headline((header.scores or {}).get("valid"))
    is_its = record.classes == header.classes and stated is not None and stated == headline_of(record.valid)
    return record if is_its else None


def _bare(source: str) -> str:
    """Return the name of a source without its folder, which is nobody else's business."""
    found = _BARE_NAME.search(source)
    return found.group() if found else source


def _weights_of(header: ModelCard) -> PretrainedWeights | None:
    stated = header.extra.get("weights")
    if not isinstance(stated, Mapping):
        return None
    source, license, sha256 = (stated.get(key) for key in ("source", "license", "sha256"))
    return PretrainedWeights(
        source=_stated(source),
        license=_stated(license),
        sha256=_stated(sha256),
    )


def _stated(value: Any) -> str:
    return value if isinstance(value, str) and value else UNKNOWN


def _worst_classes(record: Record) -> tuple[ClassLine, ...]:
    worst = record.test.worst_classes(MOST_CLASSES) if record.test else ()
    return tuple(ClassLine(name=one.name, n=one.support, precision=one.precision, recall=one.recall) for one in worst)
