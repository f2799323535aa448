"""The model card in Markdown, with the YAML head of the Hugging Face Hub."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from firstlight.delivery.share.head import yaml_head
from firstlight.delivery.share.markup import in_markdown
from firstlight.delivery.share.scores import CardTrust, Headline
from firstlight.delivery.wording import between, counted, percent
from firstlight.escaping import list_names
from firstlight.evaluation.evaluate import TOP
from firstlight.evaluation.intervals import Estimate

if TYPE_CHECKING:
    from firstlight.delivery.share.card import Card

MOST_NAMES = 200  # of classes


def card_as_markdown(card: "Card", repository: str = "") -> str:
    """Return a model card as Markdown.

    Args:
        card: what is known of the model.
        repository: where it is on the hub, such as `ada/birds`; empty if it is not there.
    """
    sections = (
        ("How good it is", _scores(card)),
        ("When it is unsure", _trust(card.trust)),
        ("What it cannot do", _bullets(card.limits)),
        ("Its pictures", _bullets(_pictures(card))),
        ("How it was made", _facts(card)),
        ("License", _license(card)),
        ("How to use it", _use(card, repository)),
    )
    lines = ["---", *yaml_head(card), "---", "", f"# {in_markdown(card.name)}", "", _purpose(card)]
    for title, body in sections:
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _purpose(card: "Card") -> str:
    names = list_names(card.classes, most=MOST_NAMES, last=" and ")
    apart = f"Tells {counted(len(card.classes), 'class', 'classes')} of pictures apart: {names}."
    return f"{in_markdown(apart)} Made with firstlight; this card says what its record says, and no more."


def _scores(card: "Card") -> Iterator[str]:
    test, valid = card.test, card.valid
    if test:
        looks = card.test_evaluations or 1
        scored = "" if card.test_evaluations is None else f" They have been scored {_times(looks)}."
        yield (
            f"It is right on **{percent(test.accuracy.value)}** of {counted(test.accuracy.n, 'test picture')} (95% "
            f"interval {between(test.accuracy)}), which took no part in training or in choosing the model.{scored}"
        )
    else:
        yield "**It has no test score**, so nobody knows how good it is on new pictures."
    if valid and not test:
        yield ""
        yield (
            f"It is right on {percent(valid.accuracy.value)} of {counted(valid.accuracy.n, 'validation picture')} (95% "
            f"interval {between(valid.accuracy)}). The model was chosen on these, so this is too good."
        )
    columns = [("test", test), ("validation, which chose the model", valid)]
    shown = [(f"{name}, n = {scores.accuracy.n:,}", scores) for name, scores in columns if scores]
    if shown:
        yield ""
        yield from _table(["score, 95% interval", *(name for name, _ in shown)], _score_rows(card, shown))
    if test and test.calibration:
        yield ""
        yield in_markdown(test.calibration.sentence)
    yield from _classes(card)


def _score_rows(card: "Card", shown: list[tuple[str, Headline]]) -> Iterator[list[str]]:
    headlines = [scores for _, scores in shown]
    yield ["accuracy", *(_with_interval(each.accuracy) for each in headlines)]
    if len(card.classes) > TOP:
        yield [f"right class among the {TOP} most probable", *(_with_interval(each.top5) for each in headlines)]
    yield ["mean F1 of the classes", *(_with_interval(each.macro_f1) for each in headlines)]
    yield ["log loss (nats)", *(_plain(each.log_loss) for each in headlines)]
    yield ["calibration error", *(_plain(each.ece) for each in headlines)]


def _classes(card: "Card") -> Iterator[str]:
    if not card.worst_classes:
        return
    count = len(card.worst_classes)
    which = "By class" if count == len(card.classes) else f"The worst {count:,} of {len(card.classes):,} classes"
    yield ""
    yield f"{which}, on the test pictures, worst first:"
    yield ""
    rows = (
        [list_names([one.name]), f"{one.n:,}", _with_interval(one.recall), _with_interval(one.precision)]
        for one in card.worst_classes
    )
    yield from _table(["class", "pictures", "of these, recognized", "answers of this class that are right"], rows)


def _trust(trust: CardTrust | None) -> Iterator[str]:
    if trust is None:
        yield "It cannot tell when it is unsure: its file does not hold what this takes."
        return
    if trust.set_quantile < 1:
        of = trust.measured_on.get("n")
        learned = f", learned from {of:,} validation pictures" if type(of) is int else ""
        yield (
            f"For each picture it lists the classes that remain possible. The list is made to hold the right one for "
            f"{percent(trust.coverage, 0)} of the pictures{learned}. If it names more than one, the answer is unsure."
        )
    else:
        yield "There were too few validation pictures to tell which answers are sure, so every answer is unsure."
    if trust.strangeness_threshold is not None:
        kept = f" In training, this kept {_with_interval(trust.kept)} of known pictures." if trust.kept else ""
        yield ""
        yield f"A picture that is unlike anything in training is unsure as well.{kept}"
    if trust.test is None:
        yield ""
        yield "How this does on test pictures is not on record."
        return
    tested = trust.test
    yield ""
    yield f"On {counted(tested.coverage.n, 'test picture')}:"
    yield ""
    found = [
        f"The right class is among those listed for {_with_interval(tested.coverage)}.",
        f"Only one class is listed for {_with_interval(tested.single)}, and it is right for "
        f"{_with_interval(tested.single_accuracy)} of these.",
    ]
    if tested.worst_class:
        name = list_names([tested.worst_class.name])
        found.append(
            f"Least often the right class is listed for {name}: {_with_interval(tested.worst_class.coverage)}."
        )
    if tested.kept:
        found.append(f"Not called unlike anything in training: {_with_interval(tested.kept)}.")
    yield from _bullets(found)


def _pictures(card: "Card") -> Iterator[str]:
    if card.source is not None:
        yield f"From: {card.source}."
    if card.images is not None:
        train, valid, test = (card.images[split] for split in ("train", "valid", "test"))
        yield f"{train:,} to train on, {valid:,} for validation, {test:,} to test on."
    else:
        yield "There is no record of them, so nothing is known about them."
    yield from card.findings


def _facts(card: "Card") -> Iterator[str]:
    channels, height, width = card.input_size
    facts = {
        "network": str(card.architecture.get("name", "")),
        "pictures are read as": f"{width} x {height} pixels, {'gray' if channels == 1 else 'color'}, {card.resize}",
    }
    if card.weights:
        facts["began with the weights"] = card.weights.source
        facts["their SHA-256"] = card.weights.sha256
    facts |= card.making
    if card.versions:
        facts["versions"] = ", ".join(f"{name} {number}" for name, number in card.versions.items())
    facts["SHA-256 in the model file"] = card.sha256 or "none: it is not in a file"
    yield from _bullets(f"{name}: {value}" for name, value in facts.items())


def _license(card: "Card") -> Iterator[str]:
    stated = (
        f"{in_markdown(card.license)}." if card.license != "unknown" else "unknown. Whoever shares it has to state one."
    )
    yield f"Of this model: {stated}"
    if card.weights:
        yield ""
        yield f"Of the weights that training began with: {in_markdown(card.weights.license)}."


def _use(card: "Card", repository: str) -> Iterator[str]:
    model = f"hf:{repository}" if repository else "model.safetensors"
    yield from ("```sh", f"firstlight predict {model} picture.jpg", f"firstlight serve {model}", "```")
    yield ""
    yield from ("```python", "import firstlight as fl", "", f'model = fl.load("{model}")', "```")
    if repository:
        yield ""
        yield (
            "`model.onnx` is the same model for other runtimes. In `model.onnx.golden`, `preprocess.md` says which "
            "pixels it takes, and pictures with the answers to expect check that."
        )


def _bullets(sentences: Iterable[str]) -> Iterator[str]:
    return (f"- {in_markdown(sentence)}" for sentence in sentences)


def _table(heading: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield f"|{'---|' * len(heading)}"
    for row in rows:
        yield f"| {' | '.join(map(in_markdown, row))} |"


def _with_interval(score: Estimate) -> str:
    return f"{percent(score.value)} ({between(score)})"


def _plain(score: Estimate) -> str:
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")
