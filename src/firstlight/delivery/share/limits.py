"""What a model cannot do, in plain words."""

from collections.abc import Iterator, Sequence

from firstlight.delivery.share.scores import CardTrust, Headline
from firstlight.delivery.wording import counted, percent
from firstlight.escaping import escape_name, list_names
from firstlight.evaluation.evaluate import Evaluation
from firstlight.evaluation.reliability import CHANCE
from firstlight.runs.record import Record

FEW_TEST_IMAGES = 10  # of a class: with fewer, its recall is a guess
WEAK_RECALL = 0.7  # a class below this is named


def limits_of(
    classes: Sequence[str],
    *,
    trust: CardTrust | None,
    test: Headline | None = None,
    record: Record | None = None,
) -> tuple[str, ...]:
    """Return what a model cannot do, a sentence or two each.

    Args:
        classes: the K names.
        trust: when it is unsure; None if it cannot tell.
        test: its scores on the test split; None if it has none.
        record: of its run, if there is one.
    """
    scored = record.test if record else None
    names = list_names(classes, most=20, last=" and ")
    return (
        f"It knows {counted(len(classes), 'class', 'classes')} and no other: {names}.",
        "It names one class for the whole picture, not where something is or how many there are.",
        *_doubt(trust),
        *_scores(test, record.test_evaluations if record else None),
        *(_weak_classes(scored) if scored else ()),
        "Its scores hold for pictures like those it was scored on. With another camera, place, or time, score it "
        "again on newly labeled pictures.",
        "How well it does for groups that the classes do not name, such as groups of people, was not measured.",
    )


def _doubt(trust: CardTrust | None) -> Iterator[str]:
    if trust is None:
        yield "It cannot tell when it does not know: it names a class for any picture, even of something else."
        return
    if trust.strangeness_threshold is None:
        yield "It cannot tell that a picture shows something else: it names a class for any picture."
    else:
        yield (
            "It calls a picture unsure that is far from all training pictures, but not each picture of something else: "
            "one that looks much like one of its classes gets an answer."
        )
    if trust.set_quantile == 1:
        yield "There were too few validation pictures to tell which answers are sure, so it calls every answer unsure."


def _scores(test: Headline | None, test_evaluations: int | None) -> Iterator[str]:
    if test is None:
        yield "Nobody knows how good it is on new pictures: it has no test score."
        return
    if test_evaluations and test_evaluations > 1:
        yield (
            f"Its test pictures have been scored {test_evaluations:,} times; if that was used to choose, the test "
            "score is too good."
        )
    calibration = test.calibration
    if calibration and calibration.p <= CHANCE:
        yield calibration.sentence


def _weak_classes(test: Evaluation) -> Iterator[str]:
    weak = [one for one in test.per_class if one.support >= FEW_TEST_IMAGES and one.recall.value < WEAK_RECALL]
    for one in sorted(weak, key=lambda one: one.recall.value)[:5]:
        hits = round(one.recall.value * one.support)
        yield (
            f"It recognized only {hits:,} of {counted(one.support, 'test picture')} of {escape_name(one.name)} "
            f"({percent(one.recall.value)})."
        )
    few = [one.name for one in test.per_class if one.support < FEW_TEST_IMAGES]
    if few:
        names = list_names(few, last=" and ")
        yield f"With fewer than {FEW_TEST_IMAGES} test pictures of each, nobody knows how well it recognizes {names}."
