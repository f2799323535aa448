"""The YAML head of a model card, which the Hugging Face Hub reads: tags, license, and the test scores."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from firstlight.delivery.share.markup import in_yaml
from firstlight.delivery.wording import between
from firstlight.evaluation.intervals import Estimate

if TYPE_CHECKING:
    from firstlight.delivery.share.card import Card

_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


def yaml_head(card: "Card") -> list[str]:
    """Return the lines of the head, without its fences.

    Only scores on the test split are listed: a reader of the list would take any other for one.
    """
    lines = [
        "library_name: firstlight",
        f"license: {in_yaml(card.license)}",
        "pipeline_tag: image-classification",
        "tags:",
        "- image-classification",
        "- firstlight",
        "- safetensors",
    ]
    if card.weights and _REPOSITORY.fullmatch(card.weights.source):
        lines.append(f"base_model: {in_yaml(card.weights.source)}")
    return [*lines, *_results(card)]


def _results(card: "Card") -> Iterator[str]:
    test = card.test
    if test is None:
        return
    source = in_yaml(card.source or "unknown")
    yield from (
        "metrics:",
        "- accuracy",
        "- f1",
        "model-index:",
        f"- name: {in_yaml(card.name)}",
        "  results:",
        "  - task:",
        "      type: image-classification",
        "    dataset:",
        f"      type: {source}",
        f"      name: {source}",
        "      split: test",
        "    metrics:",
    )
    yield from _metric("accuracy", "accuracy", test.accuracy)
    yield from _metric("f1", "macro F1", test.macro_f1)


def _metric(kind: str, name: str, score: Estimate) -> Iterator[str]:
    yield f"    - type: {kind}"
    yield f"      value: {score.value:.4f}"
    yield f"      name: {in_yaml(f'{name} (95% interval {between(score)}, n = {score.n:,})')}"
