"""What is measured: each part a contest of sides, with the figure that counts and the goal it was set."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Side:
    """One contender: the script that runs it; `{arrays}`, `{data_root}`, `{folder}` and `{seed}` are filled in.

    `peer` sides run in the peers' environment; `smoke` is added where a run only has to show that it runs.
    """

    name: str
    command: tuple[str, ...]
    peer: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    smoke: tuple[str, ...] = ("--smoke",)


@dataclass(frozen=True)
class Part:
    """A contest: its sides, the set that they are given as arrays, and how its rows are read.

    `figure` is the key of the number that counts, `unit` what it is of, `less_is_better` its direction; ratios are
    taken against the side `against`, if there is one, at the same size where a side has one ("firstlight at batch 32").
    A part that is `once` takes its turns inside its own process.
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
    words: str = ""


def contest(
    net: str, name: str, source: str, *, target: float, sides: tuple[str, ...], goal: str, most: int = 1
) -> Part:
    """Make a part in which every side trains a network of one kind to the same accuracy on the same pictures."""
    common = ("--net", net, "--set", name, "--seed", "{seed}", "--target", str(target))
    on_arrays = ("--arrays", "{arrays}", *common, "--most-epochs", str(most))
    places = ("--data-root", "{data_root}", "--cache", "{folder}/cache")
    whole = ("training/firstlight_whole.py", "--source", source, *places, *common)
    commands = {
        "firstlight": ("training/firstlight_.py", *on_arrays),
        "firstlight, first run": whole,
        "firstlight, next run": (*whole, "--again"),
        **{side: (*script.split(), *on_arrays) for side, script in PEERS.items()},
    }
    return Part(
        title=f"{net}, {name} to {target:.1%}",
        sides=tuple(
            Side(
                side,
                commands[side],
                peer=side in PEERS and side != "tutorial",
                environment={"KERAS_BACKEND": side.partition("-")[2]} if side.startswith("keras") else {},
                smoke=("--epochs", "1", *(("--source", "digits") if "run" in side else ())),
            )
            for side in (*OURS, *sides)
        ),
        goal=goal,
        data_set=source,
        target=target,
        words=f"{OUR_WORDS} {PEERS_WORDS.format(most=most, networks=NETWORKS[net])}" if sides else OUR_WORDS,
    )


OURS = ("firstlight", "firstlight, first run", "firstlight, next run")
PEERS = {
    "tutorial": "training/tutorial.py",
    "lightning": "training/lightning_.py",
    "keras-torch": "training/keras_.py",
    "keras-jax": "training/keras_.py",
    "skorch": "training/skorch_.py",
    "fastai": "training/fastai_.py",
    "fastai, tuned": "training/fastai_.py --tuned",
    "scikit-learn": "training/sklearn_.py",
}
OUR_WORDS = (
    "Seconds from the arrays of the set to the trained network, imports not counted. firstlight trains a number of "
    "epochs that was fixed beforehand on validation data, and its looks at validation are counted. Its process keeps "
    "memory that it has freed, as its command line does. `first run` and `next run` are all that `firstlight train` "
    "does, from the set's own files, split by the run's own seed, to the run folder: looking for copies and leaks, "
    "calibrating, scoring and drawing included."
)
PEERS_WORDS = (
    "Peers stop at the first epoch whose validation accuracy reaches the target, or after {most} epochs, and their "
    "looks are not counted. Where the validation pictures are harder than the test split, a peer goes on longer than "
    "the test would ask; its test accuracy shows it. {networks}"
)
NETWORKS = {
    "mlp": "All train the same layers. firstlight's recipe took the least time of some forty that reached the target "
    "on validation with seeds 0 to 2, and is without dropout (LOG.md); the peers take their usual choices, but for "
    "`fastai, tuned`, which takes what helped firstlight: no dropout, label smoothing, and larger batches where they "
    "help it too. fastai's one-cycle needs its length beforehand: the fewest epochs that reached the target with seeds "
    "0 to 2.",
    "cnn": "The networks differ, being what either would take: firstlight's `cnn` has a fixed whitening layer and "
    "three blocks of convolutions with batch norms, the tutorial's two or three convolutions and dropout.",
}
MLP_GOAL = "at least 15 times the tutorial loop, 6 times every peer"
TRANSFER = ("--data-root", "{data_root}", "--cache", "{folder}/cache", "--seed", "{seed}")
CIFAR = "{data_root}/cifar10-jpeg.tar.gz"

PARTS: dict[str, Part] = {
    "mlp-mnist": contest("mlp", "mnist", "mnist", target=0.98, most=30, sides=tuple(PEERS), goal=MLP_GOAL),
    "mlp-fashion": contest(
        "mlp", "fashion-mnist", "fashion-mnist", target=0.89, most=30, sides=tuple(PEERS), goal=MLP_GOAL
    ),
    "cnn-mnist": contest(
        "cnn", "mnist", "mnist", target=0.993, most=20, sides=("tutorial",), goal="at least 8 times the tutorial CNN"
    ),
    "cnn-fashion": contest(
        "cnn",
        "fashion-mnist",
        "fashion-mnist",
        target=0.925,
        most=20,
        sides=("tutorial",),
        goal="at least 8 times the tutorial CNN",
    ),
    "cnn-cifar10-80": contest(
        "cnn",
        "cifar10",
        CIFAR,
        target=0.80,
        most=40,
        sides=("tutorial",),
        goal="at most 2 minutes, and at least 10 times the tutorial CNN",
    ),
    "cnn-cifar10-85": contest("cnn", "cifar10", CIFAR, target=0.85, sides=(), goal="at most 5 minutes"),
    "cnn-cifar10-90": contest("cnn", "cifar10", CIFAR, target=0.90, sides=(), goal="at most 20 minutes"),
    "transfer": Part(
        title="transfer learning, mobilenet_v2 on 10 classes of clothing",
        sides=(
            Side("firstlight, first run", ("transfer.py", "--side", "firstlight", *TRANSFER)),
            Side("firstlight, next run", ("transfer.py", "--side", "firstlight", *TRANSFER, "--again")),
            Side(
                "firstlight, all fine-tuned",
                ("transfer.py", "--side", "firstlight", *TRANSFER, "--again", "--finetune", "all"),
            ),
            Side("tutorial", ("transfer.py", "--side", "tutorial", *TRANSFER)),
        ),
        goal="the tutorial takes at least 5 times as long as the first run, 100 times as long as the next",
        against="firstlight, first run",
        words="Seconds from the files (750 to train on, 341 to validate, 372 to test) to the scored and saved model, "
        "imports not counted: firstlight packs, looks for copies, sees, solves for the head and scores. The figures "
        "that `firstlight train` draws then take another two seconds. The next run, and the one that fine-tunes, find "
        "what the first has packed and seen.",
    ),
    "packing": Part(
        title="photographs to a packed store",
        once=True,
        sides=(Side("packing", ("packing.py", "--data-root", "{data_root}")),),
        goal="at least 1.6 times torchvision's PIL pipeline, within 25 % of decoding alone; later epochs 50 times",
        figure="images_per_cpu_second",
        unit="pictures a CPU-second",
        less_is_better=False,
        against="firstlight pack",
        words="400x533 JPEG photographs of clothing, one thread; the process is set up as `firstlight` sets up its "
        "own, for every side.",
    ),
    "loader": Part(
        title="the loader's share of training",
        once=True,
        sides=(Side("loader", ("loader.py", "--data-root", "{data_root}")),),
        goal="at most 5 % of a training step, in memory or memory-mapped",
        figure="share",
        unit="of an epoch's seconds",
        against=None,
        words="Seconds to draw every batch of an epoch and do nothing else, divided by the seconds of an epoch of "
        "training, and what that epoch takes to one with the set in memory, gone through in turn; medians of five. The "
        "`cnn` sees a tenth of the set.",
    ),
    "forward": Part(
        title="forward passes of mobilenet_v2, 224 pixels",
        sides=tuple(
            Side(engine, ("forward.py", "--engine", engine, "--data-root", "{data_root}"), peer=peer)
            for engine, peer in (
                ("firstlight", False),
                ("eager", False),
                ("eager, memory kept", False),
                ("onnxruntime", True),
                ("openvino", True),
            )
        ),
        goal="at least 3 times eager PyTorch at batch 32 with the same answers; at batch 1 close to ONNX Runtime",
        figure="images_per_cpu_second",
        unit="pictures a CPU-second",
        less_is_better=False,
        words="Real ImageNet weights, photographs of clothing, one thread; every side is given uint8 pixels and "
        "normalizes them inside the clock, the peers with NumPy. firstlight's process keeps memory that it has freed, "
        "as its command line does; so does that of `eager, memory kept`. `agreement` is the share of top-1 answers "
        "that are eager float32's.",
    ),
    "startup": Part(
        title="starting up",
        once=True,
        sides=(Side("startup", ("startup.py",)),),
        goal="`--help` at most 0.3 s, `import firstlight` 0.1 s, a picture predicted torch's import and 0.5 s",
        against="import torch",
        words="Seconds of a whole process with warm disk caches. The picture is predicted by an `mlp`; a model of timm "
        "or torchvision imports its library as well.",
    ),
    "busy": Part(
        title="a busy machine: an epoch of the mlp beside other work",
        once=True,
        sides=(Side("busy", ("busy.py",)),),
        goal="never more than 1.5 times the best thread count; nothing lost when quiet",
        against="quiet, 2 threads",
        words="`ratio to best` compares with the best thread count beside the same work. `PyTorch's habit` is a "
        "process in which waiting threads spin and freed memory goes back to the system; in firstlight's own they "
        "sleep where others work, and it stays.",
    ),
    "memory": Part(
        title="sets larger than memory",
        once=True,
        sides=(Side("memory", ("memory.py", "--data-root", "{data_root}")),),
        goal="a set three times the memory allowed trains; 100,000 files predicted at constant memory",
        figure="peak_over_allowed",
        unit="peak, as a share of what was allowed",
        against=None,
        words="The training runs in a control group, whose peak counts the disk's cache too and so may fill what is "
        "allowed; what counts is that it ends (exit code 0). It trains a small `mlp` for one epoch, so its accuracy "
        "says nothing. Predicting is watched from outside; its files are 200 small pictures under 100,000 names.",
    ),
}
