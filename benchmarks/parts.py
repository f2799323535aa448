"""What is measured: the parts, their sides, the figure that counts, and the goal."""

from part import Part, Side
from scale_parts import SCALE


def contest(
    net: str, name: str, source: str, *, target: float, sides: tuple[str, ...], goal: str, most: int = 1
) -> Part:
    """Return a part in which every side trains one kind of network to the same accuracy on the same images."""
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
    "Seconds from the arrays of the set to the trained network, without imports. firstlight trains for a number of "
    "epochs that was chosen beforehand on validation data, and its time for validation is included. Its process keeps "
    "memory that it has freed, as its command line does. `first run` and `next run` are everything that `firstlight "
    "train` does, from the files of the set, split with the seed of the run, to the run folder, including the search "
    "for copies and leaks, calibration, scoring, and drawing."
)
PEERS_WORDS = (
    "Peers stop at the first epoch whose validation accuracy reaches the target, or after {most} epochs, and their "
    "time for validation is not included. If the validation pictures are harder than the test pictures, a peer trains "
    "longer than the test accuracy would require; its test accuracy shows this. {networks}"
)
NETWORKS = {
    "mlp": "All sides train the same layers. firstlight's recipe was the fastest of about forty that reached the "
    "target on validation with seeds 0 to 2, and has no dropout (LOG.md). The peers use their usual settings, except "
    "for `fastai, tuned`, which uses what helped firstlight: no dropout, label smoothing, and larger batches where "
    "they help fastai too. fastai's one-cycle schedule has to know its length beforehand: it gets the fewest epochs "
    "that reached the target with seeds 0 to 2.",
    "cnn": "The networks differ, because each side uses its own: firstlight's `cnn` has a fixed whitening layer and "
    "three blocks of convolutions with batch norms, and the tutorial's has two or three convolutions and dropout.",
}
MLP_GOAL = "at least 15 times as fast as the tutorial loop, and 6 times as fast as every peer"
TRANSFER = ("--data-root", "{data_root}", "--cache", "{folder}/cache", "--seed", "{seed}")
SERVE = ("--data-root", "{data_root}", "--folder", "{folder}")
CIFAR = "{data_root}/cifar10-jpeg.tar.gz"

PARTS: dict[str, Part] = {
    "mlp-mnist": contest("mlp", "mnist", "mnist", target=0.98, most=30, sides=tuple(PEERS), goal=MLP_GOAL),
    "mlp-fashion": contest(
        "mlp", "fashion-mnist", "fashion-mnist", target=0.89, most=30, sides=tuple(PEERS), goal=MLP_GOAL
    ),
    "cnn-mnist": contest(
        "cnn",
        "mnist",
        "mnist",
        target=0.993,
        most=20,
        sides=("tutorial",),
        goal="at least 8 times as fast as the tutorial CNN",
    ),
    "cnn-fashion": contest(
        "cnn",
        "fashion-mnist",
        "fashion-mnist",
        target=0.925,
        most=20,
        sides=("tutorial",),
        goal="at least 8 times as fast as the tutorial CNN",
    ),
    "cnn-cifar10-80": contest(
        "cnn",
        "cifar10",
        CIFAR,
        target=0.80,
        most=40,
        sides=("tutorial",),
        goal="at most 2 minutes, and at least 10 times as fast as the tutorial CNN",
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
        goal="the tutorial takes at least 5 times as long as the first run, and 100 times as long as the next run",
        against="firstlight, first run",
        words="Seconds from the files (750 for training, 341 for validation, 372 for testing) to the scored and saved "
        "model, without imports: firstlight packs, searches for copies, computes features, solves for the head, and "
        "scores. The figures that `firstlight train` draws take another two seconds. The next run, and the one that "
        "fine-tunes, reuse the packed pictures and the features of the first run.",
    ),
    "packing": Part(
        title="photographs to a packed store",
        once=True,
        sides=(Side("packing", ("packing.py", "--data-root", "{data_root}")),),
        goal="at least 1.6 times as fast as torchvision's PIL pipeline, within 25 % of decoding alone; later epochs "
        "50 times as fast",
        figure="images_per_cpu_second",
        unit="pictures per CPU-second",
        less_is_better=False,
        against="firstlight pack",
        words="400x533 JPEG photographs of clothing, one thread; for every side, the process is set up as `firstlight` "
        "sets up its own.",
    ),
    "isolated": Part(
        title="packing in processes that can be killed",
        once=True,
        sides=(Side("isolated", ("isolated.py", "--data-root", "{data_root}")),),
        goal="what is not plain is packed at least 0.9 times as fast in processes as in threads",
        figure="packed_per_second",
        unit="pictures per second",
        less_is_better=False,
        against=None,
        words="Two threads, each with a process that decodes for it, unless the format is plain (JPEG, PNG, TIFF). The "
        "small ones have 28 pixels.",
    ),
    "loader": Part(
        title="the loader's fraction of training time",
        once=True,
        sides=(Side("loader", ("loader.py", "--data-root", "{data_root}")),),
        goal="at most 5 % of a training step, in memory or memory-mapped",
        figure="fraction",
        unit="fraction of an epoch",
        against=None,
        words="Seconds to load every batch of an epoch and do nothing else, divided by the seconds of a training "
        "epoch; and the ratio of that epoch to one with the set in memory, measured in turn; medians of five. The "
        "`cnn` trains on a tenth of the set.",
    ),
    "forward": Part(
        title="forward passes of mobilenet_v2, 224 pixels",
        sides=tuple(
            Side(engine, ("forward.py", "--engine", engine, "--data-root", "{data_root}"), peer=peer)
            for engine, peer in (
                ("firstlight", False),
                ("firstlight, onnx", False),
                ("onnxruntime", False),
                ("onnxruntime, normalized beforehand", False),
                ("eager", False),
                ("eager, memory kept", False),
                ("openvino", True),
            )
        ),
        goal="at batch 32 at least 3 times as fast as eager PyTorch, with the same answers; with `--engine onnx` at "
        "batch 1 within 5 % of bare ONNX Runtime, and at batch 32 at least as fast",
        figure="images_per_cpu_second",
        unit="pictures per CPU-second",
        less_is_better=False,
        words="Real ImageNet weights, photographs of clothing, one thread; every side gets uint8 pixels, and its time "
        "includes normalizing them (the others use NumPy), except for `normalized beforehand`, which shows what ONNX "
        "Runtime takes alone. `firstlight, onnx` is `--engine onnx`. firstlight's process keeps memory that it has "
        "freed, as its command line does; so does `eager, memory kept`. `agreement` is the proportion of top-1 answers "
        "that agree with eager float32.",
    ),
    "serve": Part(
        title="a server under load, mobilenet_v2, 224 pixels",
        sides=(
            Side("firstlight", ("serve.py", "--side", "firstlight", *SERVE)),
            Side("plain", ("serve.py", "--side", "plain", *SERVE)),
            Side("litserve", ("serve.py", "--side", "litserve", *SERVE), peer=True),
        ),
        goal="with one client, the median answer takes at most 1.15 times the bare call of the model with decoding; "
        "with 32 clients, at least twice the requests per second of the plain server, at an equal or lower p99",
        figure="requests_per_second",
        unit="requests per second",
        less_is_better=False,
        words="Each client uploads photographs of clothing (400x533 JPEG) one after the other, for 20 seconds; wrk "
        "makes the load, on the same two cores. `plain` is the FastAPI server of tutorials, with eager PyTorch behind "
        "it; `litserve` batches up to 32 requests within 10 ms. `bare call` decodes and calls the model of firstlight "
        "in the caller's own process.",
    ),
    "serve-load": Part(
        title="a server under attack: overload, slow clients, many requests",
        once=True,
        sides=(Side("firstlight", ("serve_load.py", *SERVE)),),
        goal="256 clients get at least 80 % of the requests per second of 32; memory stays flat; health answers within "
        "100 ms",
        figure="goodput_over_peak",
        unit="requests per second / those of 32 clients",
        less_is_better=False,
        against=None,
        words="A refused request (503) does not count. Memory is that of the server and its decoders together; its "
        "growth is the slope over the second half of each row. `slow sockets` are 200 connections that send one byte "
        "per second, beside 8 ordinary clients, whose requests count.",
    ),
    "startup": Part(
        title="starting up",
        once=True,
        sides=(Side("startup", ("startup.py",)),),
        goal="`--help` in at most 0.3 s, `import firstlight` in 0.1 s, one prediction in the time of `import torch` "
        "plus 0.5 s",
        against="import torch",
        words="Seconds of a whole process with warm disk caches. The prediction uses an `mlp`; a model of timm or "
        "torchvision would import its library as well.",
    ),
    "kills": Part(
        title="runs that are killed and resumed",
        once=True,
        sides=(Side("kills", ("kills.py",)),),
        goal="every run ends with the files of an undisturbed one, and at most `--save-every` and one step of training "
        "are lost",
        figure="lost_median_s",
        unit="training that is lost, s",
        against=None,
        words="1,000 kills: SIGKILL at random moments and in the middle of changes to files, SIGTERM, and SIGINT. "
        "`identical` counts runs whose files have the same bits, but for seconds and paths. Figures are drawn for one "
        "variant only. The state is saved every 0.1 seconds instead of 5 minutes.",
    ),
    "checkpoints": Part(
        title="the cost of saving the state of training",
        once=True,
        sides=(Side("checkpoints", ("checkpoints.py",)),),
        goal="at most 3 % of training time",
        figure="fraction",
        unit="fraction of the CPU-seconds of training",
        against=None,
        words="Trained in turn with the state saved as by default and not saved, on noise, small steps: the hard case.",
    ),
    "busy": Part(
        title="a busy machine: an epoch of the mlp while other programs run",
        once=True,
        sides=(Side("busy", ("busy.py",)),),
        goal="never more than 1.5 times the time of the best thread count; no loss on a quiet machine",
        against="quiet, 2 threads",
        words="`ratio to best` compares with the best thread count under the same load. In a process with `PyTorch's "
        "settings`, waiting threads spin and freed memory goes back to the system; in firstlight's own, waiting "
        "threads sleep while other programs run, and freed memory is kept.",
    ),
    "memory": Part(
        title="sets larger than memory",
        once=True,
        sides=(Side("memory", ("memory.py", "--data-root", "{data_root}")),),
        goal="training on a set three times as large as the allowed memory; predicting 100,000 files with constant "
        "memory",
        figure="peak_over_allowed",
        unit="peak / allowed memory",
        against=None,
        words="Training runs in a control group, whose peak includes the disk cache and may therefore reach the limit; "
        "what counts is that it finishes (exit code 0). It trains a small `mlp` for one epoch, so its accuracy means "
        "nothing. The memory of predicting is measured from outside; its files are 200 small pictures under 100,000 "
        "names.",
    ),
    **SCALE,
}
