"""What a person reads about labels: which are probably wrong, and which classes are hard to tell apart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from firstlight.cli.layout import counted
from firstlight.escaping import escape, escape_name, list_names

if TYPE_CHECKING:
    from firstlight.evaluation.mixed_up import MixedUp

MAX_SUSPECTS = 5  # that a person is shown; the file and --json hold them all


def suspect_lines(suspects: Sequence[Mapping[str, Any]], where: str) -> Iterator[str]:
    """Yield lines about the images whose labels are probably wrong, the worst few by name.

    Args:
        suspects: `image`, `label`, `suggested`, `score` and `flagged`, most suspect first.
        where: what lists them all, a file or an option.
    """
    flagged = [each for each in suspects if each["flagged"]]
    if not flagged:
        return
    verb = "is" if len(flagged) == 1 else "are"
    yield f"{counted(len(flagged), 'label')} {verb} probably wrong" + (
        ", such as:" if len(flagged) > MAX_SUSPECTS else ":"
    )
    for each in flagged[:MAX_SUSPECTS]:
        label, suggested = escape_name(each["label"]), escape_name(each["suggested"])
        yield f"  {escape(each['image'])}: labeled {label}, looks like {suggested}"
    doubtful = len(suspects) - len(flagged)
    more = f", and {doubtful:,} more that may be wrong" if doubtful else ""
    yield f"  {where} lists {'it' if len(suspects) == 1 else 'them all'}{more}"


def class_lines(mixed_up: "Sequence[MixedUp]", small: Sequence[str], where: str = "") -> Iterator[str]:
    """Yield lines about classes that are hard to tell apart, and about those too small to be judged.

    Args:
        mixed_up: the pairs, worst first.
        small: names of classes.
        where: what the pictures of `mixed_up` are from, such as `in validation, `.
    """
    for pair in mixed_up[:MAX_SUSPECTS]:
        yield pair.sentence(where)
    if small:
        yield f"too few pictures to judge the labels of {list_names(small)}"
