"""What is measured of more than one process and more than one machine: `make bench PARTS=scale`."""

from part import Part, Side


def processes(net: str, options: tuple[str, ...]) -> Part:
    """Return a part that compares one process of two threads with two processes of one thread."""
    common = ("--net", net, "--set", "mnist", "--data-root", "{data_root}", *options)
    return Part(
        title=f"two processes on one machine: {net}, MNIST",
        sides=tuple(
            Side(f"{net}, {count} x {threads}", ("ranks.py", "--processes", count, "--threads", threads, *common))
            for count, threads in (("1", "2"), ("2", "1"), ("1", "1"))
        ),
        goal="two processes of one thread train at least 0.9 times as fast as one process of two threads",
        figure="images_per_second",
        unit="pictures per second",
        less_is_better=False,
        against=f"{net}, 1 x 2",
        words="`2 x 1` are two processes of one thread each, as torchrun starts them. An epoch after the first, "
        "without validation.",
    )


SCALE: dict[str, Part] = {
    "scale-processes-mlp": processes("mlp", ()),
    "scale-processes-cnn": processes("cnn", ("--images", "12000")),
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
        "joins them. 6,000 pictures of MNIST, with the default batch size of each network. Without a limit, "
        "the cable carries as much as the two processors can copy.",
    ),
    "scale-million": Part(
        title="a million pictures",
        once=True,
        sides=(Side("million", ("million.py",), smoke=("--images", "300", "600")),),
        goal="time and memory grow linearly at most; the search for near copies grows less than n log n",
        figure="processor_seconds",
        unit="CPU-seconds",
        against=None,
        named_by=("stage", "n", "from", "to"),
        words="Made-up pictures of 16 pixels. Each stage is a process of its own. The power is that of n by which time "
        "and memory grow from one size to the next: 1 is linear.",
    ),
    "scale-ray": Part(
        title="predictions with Ray, while its workers are killed",
        once=True,
        sides=(Side("ray", ("ray_predict.py",), smoke=("--images", "300", "--kills", "0")),),
        goal="100,000 pictures, 3 killed workers: every row once",
        figure="images_per_second",
        unit="pictures per second",
        less_is_better=False,
        against=None,
        words="Small pictures of noise, with a small `mlp`. A worker is killed three times, then the program itself "
        "with all it started, and it is started again. The rate includes all starts. Beside it is that of "
        "`predict` in one process that is not killed.",
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
