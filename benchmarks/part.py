"""What a part of the benchmarks is: its sides, the figure that counts, and the goal."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Side:
    """One side of a part: its command, in which `{arrays}`, `{data_root}`, `{folder}` and `{seed}` are filled in.

    `peer` sides run in the peers' environment; `smoke` is appended if the run only has to show that it works.
    """

    name: str
    command: tuple[str, ...]
    peer: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    smoke: tuple[str, ...] = ("--smoke",)


@dataclass(frozen=True)
class Part:
    """A comparison: its sides, the set that they get as arrays, and how its rows are read.

    `figure` is the key of the number that counts, `unit` its unit, and `less_is_better` its direction. Ratios are taken
    to the side `against`, if there is one, at the same batch size if there are several ("firstlight at batch 32").
    A part with `once` runs all sides in turn inside one process; `named_by` are the keys that name its rows.
    """

    title: str
    sides: tuple[Side, ...]
    goal: str
    figure: str = "seconds"
    unit: str = "s"
    less_is_better: bool = True
    against: str | None = "firstlight"
    data_set: str | None = None
    target: float | None = None
    once: bool = False
    named_by: tuple[str, ...] = ()
    words: str = ""
