"""The first screen: what the model is for, how good it is, what was set aside, and what to do next, in plain words."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from firstlight.delivery.report.material import Material
from firstlight.delivery.wording import as_sentence, between, choices_as_options, counted, listed, percent
from firstlight.escaping import escape
from firstlight.evaluation.evaluate import Evaluation
from firstlight.evaluation.intervals import Estimate
from firstlight.runs.record import Record

STEPS = 3
FEW_TEST_IMAGES = 10  # of a class: with fewer, its recall is a guess
CONFUSED = 0.15  # the share of a class's images that are taken for another one, from which on that is worth a look


@dataclass(frozen=True)
class Step:
    """What to do next: what, why, and the section of the page where it is shown."""

    what: str
    why: str
    section: str


@dataclass(frozen=True)
class Overview:
    """The first screen.

    Attributes:
        title: of the page.
        purpose: what the model is for, a sentence or two.
        score: the accuracy on the test split; on validation if that was left locked.
        score_name: what the score is.
        score_words: what the score means.
        calibration: whether its probabilities can be believed, in a sentence; empty if not known.
        set_aside: what was not used, and why; a sentence each.
        steps: what to do next, the most useful first.
    """

    title: str
    purpose: str
    score: Estimate | None
    score_name: str
    score_words: str
    calibration: str
    set_aside: tuple[str, ...]
    steps: tuple[Step, ...]


def overview_of(material: Material) -> Overview:
    """Return the first screen."""
    scores = material.test or (material.record.valid if material.record else None)
    on = "validation" if not material.test else "test" if material.record else "these"
    return Overview(
        title=escape(material.title),
        purpose=purpose(material),
        score=scores.accuracy if scores else None,
        score_name=f"right on {on} pictures",
        score_words=score_words(material, scores) if scores else "",
        calibration=scores.calibration.sentence if scores and scores.calibration else "",
        set_aside=tuple(set_aside(material.record)) if material.record else (),
        steps=tuple(islice(steps(material), STEPS)),
    )


def purpose(material: Material) -> str:
    """Return what the model is for."""
    known = f"Tells {counted(len(material.classes), 'class', 'classes')} of pictures apart: {listed(material.classes)}."
    if material.record is None:
        return f"{known} Scored on {escape(material.source)}."
    trained = counted(material.record.n["train"], "picture")
    return f"{known} Trained on {trained} from {escape(material.source)}."


def score_words(material: Material, scores: Evaluation) -> str:
    """Return what the score means, and how far it can be trusted."""
    hits = round(scores.accuracy.value * scores.n)
    if material.test is None:
        why = "The model was chosen on these pictures, so this is a little too good. The test split was not scored."
        return f"The model was right on {hits:,} of {counted(scores.n, 'validation picture')}. {why}"
    unseen = " that it had never seen" if material.record else ""  # else nobody knows what it was trained on
    words = f"The model was right on {hits:,} of {counted(scores.n, 'picture')}{unseen}. "
    words += f"On more pictures like these, expect {between(scores.accuracy)} (95% interval)."
    looks = material.record.test_evaluations if material.record else 1
    if looks > 1:
        words += f" This test split has been scored {looks:,} times; if you used it to choose, the score is too good."
    return words


def set_aside(record: Record) -> Iterator[str]:
    """Yield what was not used, and why."""
    if record.quarantined:
        yield f"{counted(record.quarantined, 'picture')} could not be used."
    if record.leaks:
        are = "is" if record.leaks == 1 else "are"
        words = f"{counted(record.leaks, 'group')} of copies {are} in more than one split"
        left_out = f", and {counted(record.dropped, 'training picture')} left out because of that"
        yield words + (left_out if record.dropped else "; the test score may be too good") + "."
    if not (record.quarantined or record.leaks):
        yield "Nothing: every picture could be used, and no copy is in two splits."


def steps(material: Material) -> Iterator[Step]:
    """Yield what to do next, the most useful first."""
    record, test = material.record, material.test
    if record:
        yield from data_steps(record)
    flagged = [suspect for suspect in material.suspects if suspect.flagged]
    if flagged:
        what = f"Look at {counted(len(flagged), 'label')} that {'is' if len(flagged) == 1 else 'are'} probably wrong"
        yield Step(what, "Keep, relabel, or remove each one here, and train again with the corrections.", "labels")
    if test:
        yield from confusion_steps(test)
    if record and record.transfer and record.transfer.next_step:
        yield Step("Try for more accuracy", as_sentence(choices_as_options(record.transfer.next_step)), "training")
    if test:
        small = [one.name for one in test.per_class if one.support < FEW_TEST_IMAGES]
        if small:
            why = f"With fewer than {FEW_TEST_IMAGES} test pictures, nobody knows how well they are recognized."
            yield Step(f"Collect more pictures of {listed(small, 3)}", why, "classes")
        if test.accuracy.value < 1:
            yield Step("Look at the most confident mistakes", "Often it is the label that is wrong.", "mistakes")
    yield Step("Try it on pictures of your own", "Run firstlight predict with the run folder and a picture.", "recipe")


def data_steps(record: Record) -> Iterator[Step]:
    """Yield what is wrong with the data."""
    if record.two_labels:
        what = f"Decide {counted(len(record.two_labels), 'picture')} with two labels"
        yield Step(what, "The same picture is in two classes, so one of its labels is wrong.", "labels")
    if record.shortcuts:
        why = "The class can be told without looking at the object, so the score may not hold for other pictures."
        yield Step(f"Look at {counted(len(record.shortcuts), 'possible shortcut')}", why, "shortcuts")
    if record.leaks and not record.dropped:
        why = choices_as_options("Copies of test pictures were trained on; add `drop_leaks` for an honest score.")
        yield Step(f"Take {counted(record.leaks, 'group')} of copies out of training", why, "copies")
    if record.quarantined:
        what = f"Repair or delete {counted(record.quarantined, 'picture')} that cannot be read"
        yield Step(what, "Pictures that cannot be read are set aside, with the reason.", "quarantine")


def confusion_steps(test: Evaluation) -> Iterator[Step]:
    """Yield the pair of classes that is confused most, if that happens often."""
    sizes = test.confusion.true_counts
    for cell in test.confusion.mistakes()[:1]:
        share = cell.n / int(sizes[cell.true])
        if share >= CONFUSED and cell.n > 1:
            true, predicted = escape(test.classes[cell.true]), escape(test.classes[cell.predicted])
            why = (
                f"{cell.n:,} of {counted(int(sizes[cell.true]), 'picture')} of {true} ({percent(share, 0)}) were taken "
                f"for {predicted}. Check their labels, then collect more of both, or merge the classes."
            )
            yield Step(f"Tell {true} and {predicted} apart", why, "confusion")
