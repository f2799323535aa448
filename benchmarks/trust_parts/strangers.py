"""Strangers: refused far from the training images, told from near ones, while known test images are kept.

- clothing10, the default network; two of its classes, hats and shoes; 6,000 digits of MNIST by the mlp and the cnn.
  Each trained model is asked about sets of other images (`stranger_sets.REPORTED`).
- Near strangers: two of the ten classes of clothing10, drawn by the seed, are left out of training and validation.

Beside it, scores that need no training images: the highest probability and the energy, with thresholds that keep 95% of
the validation images. Takes about six minutes on one core.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import firstlight as fl
from firstlight.evaluation.novelty import Seen, fit_strangeness
from firstlight.inference.inputs import Item, Target, read_item
from firstlight.inference.predictor import Predictor
from firstlight.models.model_file import save_model
from firstlight.runs.outputs import read_outputs
from firstlight.training.run import Run
from firstlight.training.transfer.exact_head import Problem, assign_folds, fit_head
from firstlight.training.transfer.features import extract_features
from trust_parts.goal import Goal
from trust_parts.stranger_sets import REPORTED, Images, idx

IMAGES = 60  # of each set
TWO = ("hat", "shoes")
DIGITS = ("MNIST", "digits")  # sets that are no strangers to a model of digits
MNIST_SIZES = {"train": 6_000, "valid": 1_500, "test": 2_000}
MNIST_RUNS = (("mlp", None, {}), ("cnn", 1, {"epochs": 3}))  # the network, how many of the seeds, choices
TIMED = 5  # repetitions


def measure(seeds: range, data_root: Path) -> Iterator[Goal]:
    """Yield the goals about strangers."""
    random = np.random.default_rng([17, seeds.start])
    sets = {name: make(data_root, random, IMAGES) for name, make in REPORTED.items()}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run = fl.train(data_root / "clothing10.tar", out=out / "clothing10")
        yield from goals_of("clothing10", [run], [sets])
        yield near(run, seeds)
        yield from cost(run, out)
        run = fl.train(two_classes(run), out=out / "two")
        yield from goals_of("hats and shoes", [run], [sets])
        without = {name: images for name, images in sets.items() if name not in DIGITS}
        for model, count, choices in MNIST_RUNS:
            runs, asked = [], []
            for seed in seeds[:count]:
                random = np.random.default_rng([18, seed])
                parts = digits(data_root, random)
                runs.append(fl.train(parts, model=model, seed=seed, out=out / f"{model}-{seed}", **choices))
                asked.append(without | changed_digits(parts["test"][0][:IMAGES], random))
            yield from goals_of(f"MNIST, {model}", runs, asked)


def goals_of(name: str, runs: list[Run], asked: list[dict[str, Images]]) -> Iterator[Goal]:
    """Yield how many strangers are refused, and how many known test images are kept, over the runs."""
    found = [
        {key: refusals(run, images) for key, images in sets.items()} for run, sets in zip(runs, asked, strict=True)
    ]
    ours, *peers = ([np.mean([one[score] for one in sets.values()]) for sets in found] for score in SCORES)
    words = ", ".join(f"{peer}: {np.mean(values):.2f}" for peer, values in zip(PEERS, peers, strict=True))
    means, note = np.mean(ours).item(), f"{len(found[0])} sets of {IMAGES}"
    yield Goal(name=f"{name}: refused", value=means, n=len(runs), least=0.98, peer=words, note=note, **span(ours))
    lowest, hardest = min((one["ours"], key) for sets in found for key, one in sets.items())
    yield Goal(name=f"{name}: refused of the hardest set", value=lowest, n=IMAGES, least=0.9, note=hardest)
    kept = [run.record.trust.test_kept for run in runs]
    limits = span([one.value for one in kept]) if len(kept) > 1 else {"low": kept[0].low, "high": kept[0].high}
    share, n = np.mean([one.value for one in kept]).item(), sum(one.n for one in kept)
    yield Goal(name=f"{name}: known test images kept", value=share, n=n, least=0.93, most=0.97, **limits)


def refusals(run: Run, images: Images) -> dict[str, float]:
    """Return which part of some images is refused, by the model and by peers."""
    model = run.model
    target = Target(model.input_size, model.resize, model.max_pixels, model.white)
    pixels = torch.from_numpy(np.stack([read_item(Item(image), target) for image in images])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        features, logits = Predictor(model).engine.features_and_logits(pixels)
    strangeness, valid = model.trust.strangeness, torch.from_numpy(read_outputs(run.folder, "valid").logits)
    refused = {"ours": strangeness.score(features, logits, pixels) > strangeness.threshold}
    refused |= {name: score(logits) > score(valid).quantile(0.95) for name, score in PEERS.items()}
    return {name: some.float().mean().item() for name, some in refused.items()}


def span(values: Sequence[float]) -> dict[str, float]:
    """Return the lowest and the highest of some values."""
    return {"low": float(min(values)), "high": float(max(values))}


def doubt(logits: torch.Tensor) -> torch.Tensor:
    """Return one minus the highest probability."""
    return 1 - logits.softmax(dim=1).amax(dim=1)


def energy(logits: torch.Tensor) -> torch.Tensor:
    """Return the energy, minus the log of the sum of the exponentials."""
    return -logits.logsumexp(dim=1)


PEERS = {"probability": doubt, "energy": energy}
SCORES = ("ours", *PEERS)


def near(run: Run, seeds: range) -> Goal:
    """Return how well images of two classes that were left out are told from test images of the others, as AUROC."""
    data, weights = run.data, run.transfer.weights["sha256"]
    rows = {split: data.split.rows(split) for split in ("train", "valid", "test")}
    features = {split: np.array(extract_features(run.model, data, some, weights)) for split, some in rows.items()}
    labels = {split: data.samples.labels[some] for split, some in rows.items()}
    pairs = list(itertools.combinations(range(len(data.samples.classes)), 2))
    found = []
    for seed in seeds:
        pair = pairs[np.random.default_rng([19, seed]).integers(len(pairs))]
        known = {split: ~np.isin(values, pair) for split, values in labels.items()}
        train, valid = (features[split][known[split]] for split in ("train", "valid"))
        classes, own = np.unique(labels["train"][known["train"]], return_inverse=True)
        valid_labels = np.searchsorted(classes, labels["valid"][known["valid"]])
        problem = Problem(train, own, len(classes))
        head = fit_head(problem, valid, valid_labels)
        folds = assign_folds(own, np.arange(len(own)), seed=seed)
        logits = problem.out_of_fold(folds, head.strength)
        strangeness = fit_strangeness(
            seen(train, logits),
            own,
            seen(valid, head.logits(valid)),
            seen(valid[:0], logits[:0]),
            learned=False,
            seed=seed,
        )
        logits = head.logits(features["test"]).float()
        ours = strangeness.score(torch.from_numpy(features["test"]), logits, torch.empty(0))
        scores = (ours, *(score(logits) for score in PEERS.values()))
        found.append([roc_auc_score(~known["test"], values.numpy()) for values in scores])
    ours, *peers = np.transpose(found)
    words = ", ".join(f"{peer}: {np.mean(values):.2f}" for peer, values in zip(PEERS, peers, strict=True))
    name = "clothing10, two classes left out: AUROC of near strangers"
    return Goal(name=name, value=ours.mean().item(), n=len(ours), least=0.75, peer=words, **span(ours))


def seen(features: NDArray[np.float32], logits: torch.Tensor) -> Seen:
    """Return what a network says about images whose pixels do not count."""
    return Seen(torch.from_numpy(features), logits.float(), torch.zeros(len(features), 1))


def cost(run: Run, folder: Path) -> Iterator[Goal]:
    """Yield what the score adds to the model file, and to the time of predictions."""
    save_model(folder / "with.safetensors", run.model)
    trust, run.model.trust = run.model.trust, None
    save_model(folder / "without.safetensors", run.model)
    run.model.trust = trust
    sizes = [(folder / f"{name}.safetensors").stat().st_size for name in ("with", "without")]
    yield Goal(name="growth of the model file, MB", value=(sizes[0] - sizes[1]) / 1e6, most=0.6)
    rows = run.data.split.test[:64]
    pixels = torch.from_numpy(np.array(run.data.store.pixels[rows])).permute(0, 3, 1, 2)
    predictor, shares = Predictor(run.model), []
    for _ in range(TIMED):
        with torch.inference_mode():
            started = time.process_time()
            features, logits = predictor.engine.features_and_logits(pixels)
            passed = time.process_time()
            trust.strangeness.score(features, logits, pixels)
            shares.append((time.process_time() - passed) / (passed - started))
    value = np.median(shares).item()
    yield Goal(name="share of the time of the network", value=value, n=TIMED, most=0.02, **span(shares))


def two_classes(run: Run) -> dict[str, tuple[NDArray[np.uint8], list[str]]]:
    """Return the images of two classes by split, as arrays with their labels."""
    data, found = run.data, {}
    for split in ("train", "valid", "test"):
        rows = [row for row in data.split.rows(split) if data.samples.classes[data.samples.labels[row]] in TWO]
        found[split] = (
            np.array(data.store.pixels[rows]),
            [data.samples.classes[data.samples.labels[row]] for row in rows],
        )
    return found


def digits(root: Path, random: np.random.Generator) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Return some digits by split, as arrays with their labels; those to test on are of the official test split."""
    found = {}
    files = {
        name: [idx(root / "mnist" / f"{name}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")]
        for name in ("train", "t10k")
    }
    order = random.permutation(60_000)
    picked = {
        "train": order[: MNIST_SIZES["train"]],
        "valid": order[-MNIST_SIZES["valid"] :],
        "test": random.permutation(10_000)[: MNIST_SIZES["test"]],
    }
    for split, rows in picked.items():
        images, labels = files["t10k" if split == "test" else "train"]
        found[split] = (images[rows], labels[rows])
    return found


def changed_digits(images: NDArray[np.uint8], random: np.random.Generator) -> dict[str, Images]:
    """Return digits in black on white, and digits whose pixels are in random order."""
    flat = images.reshape(len(images), -1)
    shuffled = [random.permutation(one).reshape(images.shape[1:]) for one in flat]
    return {
        "inverted digits": [255 - image[..., None] for image in images],
        "shuffled digits": [image[..., None] for image in shuffled],
    }
