"""Names in figures, shortened where they are the same and kept where they differ."""

from collections import defaultdict
from collections.abc import Sequence
from os.path import commonprefix

CUT = "…"
WORD_LENGTH = 4  # letters that are kept before the first one that differs, at most


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text: its two ends, since long names often differ only at one of them."""
    if len(text) <= limit:
        return text
    tail = (limit - len(CUT)) // 2
    return f"{text[: limit - len(CUT) - tail]}{CUT}{text[len(text) - tail :]}"


def shorten_all(names: Sequence[str], limit: int) -> list[str]:
    """Return each name in at most `limit` characters, so that different names stay different.

    A name that is too long keeps its two ends. Where that makes names equal, they are cut where they do not differ
    instead: each keeps its first letters, and what follows from their first difference on.
    """
    short = {name: shorten(name, limit) for name in names}
    for group in _equal(short):
        _tell_apart(group, limit, short)
    for group in _equal(short):  # a few, where there is too little room for what tells them apart
        for number, name in enumerate(group[1:], 2):
            short[name] = f"{short[name][: limit - len(f'{CUT}{number}')]}{CUT}{number}"
    return [short[name] for name in names]


def _equal(short: dict[str, str]) -> list[list[str]]:
    groups = defaultdict(list)
    for name, text in short.items():
        groups[text].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _tell_apart(group: list[str], limit: int, short: dict[str, str]) -> None:
    """Cut the names of a group, whose ends are equal, so that each keeps what follows from their first difference."""
    head = limit // 4
    shared = commonprefix(group)
    start = len(shared)
    while start > len(shared) - WORD_LENGTH and shared[start - 1 : start].isalnum():
        start -= 1  # to the first letter of the word in which they differ
    start = max(head, start)
    for name in group:
        short[name] = name[:head] + CUT + shorten(name[start:], limit - head - len(CUT))
    for smaller in _equal({name: short[name] for name in group}):
        if len(smaller) < len(group):
            _tell_apart(smaller, limit, short)
