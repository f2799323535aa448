"""What a run found out about its pictures that whoever uses the model should know."""

from collections.abc import Iterator

from firstlight.delivery.wording import as_sentence, counted
from firstlight.evaluation.shortcut_words import sentence
from firstlight.runs.record import Record


def findings_of(record: Record) -> Iterator[str]:
    """Yield what a run found out, a sentence or two each.

    The notes of a record are left out: they name files and folders, which are nobody else's business.
    """
    if record.quarantined:
        yield f"{counted(record.quarantined, 'picture')} could not be used, and {_were(record.quarantined)} left out."
    if record.leaks:
        words = f"{counted(record.leaks, 'group')} of copies {_were(record.leaks)} in more than one split"
        if record.dropped:
            yield f"{words}, so {counted(record.dropped, 'training picture')} {_were(record.dropped)} left out."
        else:
            yield f"{words}, so the test score may be too good."
    if record.two_labels:
        yield f"{counted(len(record.two_labels), 'picture')} {_were(len(record.two_labels))} in two classes."
    if record.suspects:
        yield (
            f"The labels of {counted(record.suspects, 'training picture')} are probably wrong; a person has to look at "
            "them."
        )
    for pair in record.mixed_up:
        yield as_sentence(pair.sentence("in validation, "))
    for shortcut in record.shortcuts:
        yield (
            f"Possible shortcut: {sentence(shortcut)}. If that comes from how the pictures were collected, the model "
            "may fail on others."
        )


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
