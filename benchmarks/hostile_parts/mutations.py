"""Damage files: bits and bytes, as disks and transfers do, and numbers and structure, as an attacker would."""

import random
import re
from typing import Any

NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"4294967296",
    b"18446744073709551616",
    b"999999999999",
    b'"x"',
    b"null",
    b"[]",
)
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, -1e-308, "", "\0", "../../x", "x" * 5000, [], {}, [[]],
    {"a": {}}, [0] * 5000, "mlp", ["a", "a"], float("inf"), float("nan"),
)  # fmt: skip


def generator(*names: object) -> random.Random:
    """Return a generator that belongs to these names, such as a row and a number."""
    return random.Random("/".join(map(str, names)))


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with one to four changes; now and then they are the same."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _change(found, chance)
    return bytes(found)


def _change(data: bytearray, chance: random.Random) -> None:  # noqa: C901 - a table of damages
    size = len(data)
    if not size:
        data += chance.randbytes(8)
        return
    early = chance.random() < 0.5  # where the structure is
    start = chance.randrange(min(size, 256) if early else size)
    length = min(size - start, int(2 ** chance.uniform(0, 10)))
    match chance.randrange(9):
        case 0:
            data[start] ^= 1 << chance.randrange(8)
        case 1:
            data[start : start + length] = chance.randbytes(length)
        case 2:
            data[start : start + length] = bytes([chance.choice((0, 255))]) * length
        case 3:
            del data[start : start + length]
        case 4:
            data[start:start] = data[start : start + length]
        case 5:
            del data[start:]
        case 6:
            data[start:start] = chance.randbytes(length)
        case 7:
            number = chance.choice((0, 1, 2**31 - 1, 2**32 - 1, size, size - start)) & (2**32 - 1)
            data[start : start + 4] = number.to_bytes(4, chance.choice(("little", "big")))
        case 8:
            digits = list(re.finditer(rb"\d+", data[:20_000]))
            if digits:
                one = chance.choice(digits)
                data[one.start() : one.end()] = chance.choice(NUMBERS)


def mutated_json(value: Any, chance: random.Random) -> Any:
    """Return JSON in which one value, at any depth, is replaced, removed or repeated."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice(list(value))
        changed = dict(value)
        if chance.random() < 0.1:
            del changed[name]
        else:
            changed[name] = mutated_json(value[name], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], mutated_json(value[place], chance), *value[place + 1 :]]
    if type(value) in (int, float) and chance.random() < 0.5:
        return chance.choice((-value, value * 1e30, value + 1, value * 1e-30, float(value), int(value)))
    return chance.choice(STRANGE)
