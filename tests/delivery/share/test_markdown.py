"""The Markdown card: readers of Markdown and YAML see the facts, and no name of a class can add anything to it."""

from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from firstlight.delivery.share.card import Card, PretrainedWeights, card_of
from firstlight.delivery.share.markup import in_markdown, in_yaml

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</details>",
    "[click](javascript:alert(1))",
    "![](http://127.0.0.1/pixel.png)",
    "http://evil.example/",
    "www.evil.example",
    "mail@evil.example",
    "a | b | c",
    "**bold** __bold__ ~~gone~~ *i*",
    "`code` ``` fence",
    "line\nend\r\n# Heading",
    "---",
    "--- \n---\nlicense: mit",
    "# heading",
    "- item",
    "1. one",
    "&lt;b&gt; &amp; &#x41;",
    "$x^2$ \\(y\\)",
    "back\\slash\\",
    "quote\" ' end",
    "{{ jinja }} {% raw %}",
    "yaml: [1, 2] # comment",
    "!!python/object/apply:os.system ['id']",
    "*anchor &ref",
    "null",
    "\u202eright to left",
    "\u2028separator",
    "\x00\x07\x1b[31mred",
    "broken \udcff name",
    "😀 emoji",
    "שלום عربي",
    "\ufeff\ufffe",
    ":smile: @someone #1",
    "x" * 3000,
    " ",
)


@pytest.fixture
def hostile_card(array_run):
    card = card_of(array_run.folder)
    first = card.worst_classes[0]
    return replace(
        card,
        name=HOSTILE[0],
        source=HOSTILE[13],
        classes=HOSTILE,
        worst_classes=tuple(replace(first, name=name) for name in HOSTILE),
        findings=HOSTILE[:12],
        limits=HOSTILE[12:-1],  # all but the blank one: no sentence is blank
        making={HOSTILE[8]: HOSTILE[10]},
        architecture={"name": HOSTILE[1]},
        license=HOSTILE[13],
        weights=PretrainedWeights(source=HOSTILE[22], license=HOSTILE[23], sha256=HOSTILE[26]),
        versions={"firstlight": HOSTILE[3]},
    )


def parsed(text):
    """Return the head of a card as YAML, and the tokens of its body."""
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    return yaml.safe_load(head), MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(body)


def inline(tokens):
    return [child for token in tokens for child in token.children or ()]


def test_hostile_names_add_no_markup(hostile_card):
    harmless = replace(
        hostile_card,
        **{name: ("x",) * len(getattr(hostile_card, name)) for name in ("classes", "findings", "limits")},
        worst_classes=tuple(replace(one, name="x") for one in hostile_card.worst_classes),
        name="x",
        source="x",
        making={"x": "x"},
        architecture={"name": "x"},
        license="x",
        weights=PretrainedWeights(source="x", license="x", sha256="x"),
        versions={"firstlight": "x"},
    )
    (_, tokens), (_, expected) = parsed(hostile_card.to_markdown()), parsed(harmless.to_markdown())
    assert [token.type for token in tokens] == [token.type for token in expected]
    kinds = {child.type for child in inline(tokens)}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "code_inline"}


def test_hostile_names_are_shown_as_they_are(hostile_card):
    _, tokens = parsed(hostile_card.to_markdown())
    shown = "\n".join("".join(child.content for child in token.children) for token in tokens if token.children)
    for name in ("<script>alert(1)</script>", "[click](javascript:alert(1))", "a | b | c", "😀 emoji", "back\\slash\\"):
        assert name in shown


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_scalar_of_yaml(name):
    written = in_yaml(name)
    assert "\n" not in written
    read = yaml.safe_load(f"a: {written}\nb: 1")
    assert read.keys() == {"a", "b"}
    assert isinstance(read["a"], str)
    if name.isprintable():
        assert read["a"] == name


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_line_of_markdown(name):
    assert "\n" not in in_markdown(name)
    assert in_markdown(name).isprintable()


def test_the_head_is_what_the_hub_reads(array_run):
    card = card_of(array_run.folder)
    data = ModelCard(card.to_markdown()).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("firstlight", "image-classification", "unknown")
    accuracy = next(one for one in data.eval_results if one.metric_type == "accuracy")
    assert accuracy.metric_value == pytest.approx(card.test.accuracy.value, abs=5e-5)
    assert accuracy.dataset_split == "test"
    assert f"n = {card.test.accuracy.n:,}" in accuracy.metric_name


def test_a_model_without_a_test_score_has_no_results_in_its_head(array_run):
    card = replace(card_of(array_run.folder), test=None)
    head, _ = parsed(card.to_markdown())
    assert "model-index" not in head
    assert "metrics" not in head
    text = card.to_markdown()
    assert "**It has no test score**" in text
    assert "chosen on these, so this is too good" in text


def test_the_base_model_is_named_only_where_it_is_on_the_hub(array_run):
    card = card_of(array_run.folder)
    on_hub = replace(card, weights=PretrainedWeights(source="timm/resnet18.a1_in1k", license="apache-2.0", sha256="0"))
    elsewhere = replace(card, weights=PretrainedWeights(source="weights.pth", license="unknown", sha256="0"))
    assert parsed(on_hub.to_markdown())[0]["base_model"] == "timm/resnet18.a1_in1k"
    assert "base_model" not in parsed(elsewhere.to_markdown())[0]
    assert "Of the weights that training began with: unknown." in elsewhere.to_markdown()


def test_the_card_says_how_to_load_it_from_where_it_is(array_run):
    card = card_of(array_run.folder)
    assert 'fl.load("hf:ada/birds")' in card.to_markdown("ada/birds")
    assert "hf:" not in card.to_markdown()


def test_a_card_of_little_is_still_a_card():
    card = Card(name="m", architecture={}, classes=("a",), input_size=(3, 8, 8), resize="crop", making={}, versions={})
    text = card.to_markdown()
    for words in ("no test score", "cannot tell when it is unsure", "no record", "none: it is not in a file"):
        assert words in text
