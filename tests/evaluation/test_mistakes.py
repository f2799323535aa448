"""Mistakes come most confident first, and a run's figures show the worst of them."""

import pytest
import torch

from firstlight.evaluation.mistakes import MISTAKES_SHOWN, Mistake, Mistakes, shown_positions, worst_mistakes
from firstlight.runtime.seeds import generator


def drawn(n=300, classes=7):
    rng = generator(0, "test_evaluate", n)
    logits = 2 * torch.randn(n, classes, generator=rng)
    labels = torch.multinomial(logits.softmax(1), 1, generator=rng)[:, 0]
    return logits, labels


def test_worst_mistakes_come_most_confident_first():
    logits, labels = drawn()
    rows = torch.arange(1000, 1300)
    mistakes = worst_mistakes(logits, labels, rows, count=1000, temperature=2.0)
    probabilities, wrong = (logits.double() / 2).softmax(1), logits.argmax(1) != labels
    assert {mistake.row for mistake in mistakes} == set(rows[wrong].tolist())
    assert [mistake.probability for mistake in mistakes] == pytest.approx(
        sorted(probabilities.amax(1)[wrong].tolist(), reverse=True), rel=1e-12
    )
    first = mistakes[0]
    place = first.row - 1000
    assert (first.label, first.predicted) == (labels[place], logits[place].argmax())
    assert first.probability_of_label == pytest.approx(probabilities[place, labels[place]].item(), rel=1e-12)
    assert worst_mistakes(logits, labels, rows, count=4, temperature=2.0) == mistakes[:4]


def test_equally_confident_mistakes_are_settled_by_the_label_then_by_the_row():
    logits = torch.tensor([[2.0, 0, 1], [2.0, 1, 0], [2.0, 1, 0], [2.0, 0, 1]])
    mistakes = worst_mistakes(logits, torch.tensor([2, 2, 1, 1]), torch.tensor([7, 5, 3, 1]))
    assert [mistake.row for mistake in mistakes] == [1, 5, 3, 7]


def test_no_mistakes_are_no_mistakes():
    assert worst_mistakes(torch.eye(3), torch.arange(3), torch.arange(3)) == ()


def test_without_rows_a_mistake_is_named_by_its_position():
    logits, labels = drawn()
    assert worst_mistakes(logits, labels) == worst_mistakes(logits, labels, torch.arange(300))


def test_figures_show_the_first_image_and_the_worst_mistakes_each_once():
    logits, labels = drawn()
    mistakes = [mistake.row for mistake in worst_mistakes(logits, labels, count=MISTAKES_SHOWN, temperature=2.0)]
    assert 0 not in mistakes
    assert shown_positions(logits, labels, temperature=2.0) == [0, *mistakes]
    worst = mistakes[0]
    order = [worst, *(place for place in range(300) if place != worst)]  # the worst mistake is the first image
    shown = shown_positions(logits[order], labels[order], temperature=2.0)
    assert shown[0] == 0 and len(shown) == len(set(shown)) == MISTAKES_SHOWN
    assert shown_positions(torch.eye(3), torch.arange(3), temperature=1.0) == [0]


def test_printed_mistakes_are_all_there_one_on_each_line():
    wrong = [Mistake(row, 0, 1, 0.75, 0.25, f"{row}\x1b.png") for row in range(40)]
    lines = str(Mistakes(wrong, ("cat", "dog"))).splitlines()
    assert len(lines) == 40
    assert lines[3] == "3\\x1b.png is cat, predicted as dog (75.0%)"
    assert str(Mistakes((), ("cat", "dog"))) == "no mistakes"
