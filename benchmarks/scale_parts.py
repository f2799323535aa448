"""What is measured of more than one process and more than one machine: `make bench PARTS=scale`."""

from part import Part, Side

SCALE: dict[str, Part] = {
    "scale-nodes": Part(
        title="two simulated machines",
        once=True,
        sides=(Side("nodes", ("nodes.py", "--data-root", "{data_root}")),),
        goal="what a slower network costs",
        figure="efficiency",
        unit="pictures per second / twice those of one process",
        less_is_better=False,
        against=None,
        words="Each machine is a network namespace with one process of one thread; a virtual cable of limited rate "
        "joins them. The first 12,000 pictures of MNIST, with the default batch size of each network. Without a limit, "
        "the cable carries as much as the two processors can copy.",
    ),
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
