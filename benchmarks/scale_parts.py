"""What is measured of more than one process and more than one machine: `make bench PARTS=scale`."""

from part import Part, Side

SCALE: dict[str, Part] = {
    "scale-arithmetic": Part(
        title="on paper: 10 million pictures on 8 H200",
        once=True,
        sides=(Side("arithmetic", ("arithmetic.py",)),),
        goal="what to expect of machines that were not at hand",
        figure="value",
        unit="value",
        against=None,
        words="Computed, not measured. `benchmarks/arithmetic.py` has the formulas, and what they assume.",
    ),
}
