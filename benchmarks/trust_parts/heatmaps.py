"""Heatmaps: agreement with the grad-cam package, and the pointing game with its controls. About 4 minutes on one core.

In the pointing game, two photographs of clothing10's test split that the network recognizes stand side by side, each in
half of the picture, and the highest point of the heatmap for the class of one must be in its half (Zhang et al.,
arXiv:1608.00507). By chance that is so for one half of them. A heatmap that ignores the class, or the weights of the
network, must fail (Adebayo et al., arXiv:1810.03292).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import firstlight as fl
from firstlight.data.images import PAD_GRAY, decode, resize_image
from firstlight.data.samples import Samples, Split
from firstlight.evaluation.intervals import proportion
from firstlight.inference.heatmaps.explainer import Explainer
from firstlight.inference.heatmaps.layers import channels_first
from firstlight.models.classifier import Classifier
from trust_parts.goal import Goal

PAIRS = 40  # for each seed
BATCH = 20
OCCLUDED = 10  # pairs in all: it takes 225 passes for each
CHANCE_AT_MOST = 0.62  # half of them, and what 200 pairs leave to chance
NETWORKS = {
    "cnn": (3, 32, 32),
    "timm:tf_efficientnet_lite0": (3, 128, 128),
    "torchvision:mobilenet_v2": (3, 128, 128),
    "timm:resnet18": (3, 128, 128),
    "torchvision:squeezenet1_1": (3, 128, 128),
}


class Pairs(NamedTuple):
    """Pictures of two photographs side by side.

    Attributes:
        images: uint8 `[n, 3, H, W]`.
        asked: int64 `[n]`, the class of one of the two.
        absent: int64 `[n]`, a class of neither.
        on_the_right: bool `[n]`, whether the photograph of class `asked` is on the right.
    """

    images: Tensor
    asked: Tensor
    absent: Tensor
    on_the_right: Tensor


def measure(seeds: range, data_root: Path) -> Iterator[Goal]:
    """Yield each goal with its value."""
    yield from _agreement(seeds)
    samples = fl.load_data(data_root / "clothing10.tar")
    with tempfile.TemporaryDirectory() as folder:
        model = fl.train(samples, out=Path(folder) / "run", score_test=False).model
    yield from _pointing(model, samples, seeds)


def _agreement(seeds: range) -> Iterator[Goal]:
    """The lowest correlation with the peer over networks with random weights, images, and classes."""
    from pytorch_grad_cam import GradCAM, LayerCAM

    for method, peer in {"gradcam": GradCAM, "layercam": LayerCAM}.items():
        found = [
            value
            for seed in seeds
            for name, size in NETWORKS.items()
            for value in _correlations(_random_network(name, size, seed), method, peer, _noise(size, seed))
        ]
        yield Goal(
            name=f"correlation of {method} with grad-cam, the lowest over {len(NETWORKS)} networks with random weights",
            value=min(found), low=min(found), high=max(found), n=len(found), least=0.999,
        )  # fmt: skip


def _random_network(
    name: str, size: tuple[int, int, int], seed: int, classes: tuple[str, ...] = ("a", "b", "c", "d")
) -> Classifier:
    torch.manual_seed(seed)
    architecture = {"name": name} | ({"head": "linear"} if ":" in name else {})
    made = Classifier(architecture=architecture, classes=classes, input_size=size).eval()
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return made


def _noise(size: tuple[int, int, int], seed: int) -> Tensor:
    return torch.randint(0, 256, (4, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def _correlations(model: Classifier, method: str, peer: Any, images: Tensor) -> list[float]:
    classes = torch.arange(len(images))
    explainer = Explainer(model, method)
    pairs = zip(explainer(images, classes).numpy(), _peer(peer, model, explainer.layer, images, classes), strict=True)
    return [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in pairs if np.ptp(a) and np.ptp(b)]


def _peer(peer: Any, model: Classifier, layer: str | None, images: Tensor, classes: Tensor) -> np.ndarray:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    assert layer is not None
    targets = [ClassifierOutputTarget(number) for number in classes.tolist()]
    with peer(model.network, [model.network.get_submodule(layer)], reshape_transform=channels_first) as made:
        return made(model.normalize(images), targets)


def _pointing(model: Classifier, samples: Samples, seeds: range) -> Iterator[Goal]:
    from pytorch_grad_cam import GradCAM

    halves, labels = _halves(model, samples)
    parts = [_pairs(halves, labels, np.random.default_rng(seed)) for seed in seeds]
    pairs = Pairs(*(torch.cat(column) for column in zip(*parts, strict=True)))
    untrained = _random_network(model.architecture["name"], model.input_size, 0, model.classes)
    explainer = Explainer(model)
    theirs = [
        torch.from_numpy(_peer(GradCAM, model, explainer.layer, images, classes))
        for images, classes in zip(pairs.images.split(BATCH), pairs.asked.split(BATCH), strict=True)
    ]
    few = Pairs(*(column[:OCCLUDED] for column in pairs))

    def hits(maps: Tensor, pairs: Pairs) -> Tensor:
        highest = maps.amax(dim=1)  # of each column of pixels
        on_the_right = highest.argmax(dim=1) >= maps.shape[2] // 2
        return (on_the_right == pairs.on_the_right) & (highest.amax(dim=1) > 0)

    def goal(name: str, found: Tensor, **goal: Any) -> Goal:
        share = proportion(int(found.sum()), len(found))
        return Goal(name=name, value=share.value, low=share.low, high=share.high, n=share.n, **goal)

    ours = hits(_maps(explainer, pairs.images, pairs.asked), pairs)
    peer = f"grad-cam: {hits(torch.cat(theirs), pairs).float().mean():.3f}"
    yield goal("pointing game, Grad-CAM: clothing10 test photographs side by side", ours, least=0.95, peer=peer)
    yield goal("the same, LayerCAM", hits(_maps(Explainer(model, "layercam"), pairs.images, pairs.asked), pairs))
    yield goal("the same, occlusion", hits(_maps(Explainer(model, "occlusion"), few.images, few.asked), few))
    absent = hits(_maps(explainer, pairs.images, pairs.absent), pairs)
    yield goal("control: the heatmap is for a class that is in neither half", absent, most=CHANCE_AT_MOST)
    random = hits(_maps(Explainer(untrained), pairs.images, pairs.asked), pairs)
    yield goal("control: the network has random weights", random, most=CHANCE_AT_MOST)


def _halves(model: Classifier, samples: Samples) -> tuple[Tensor, Tensor]:
    """Return the test photographs that are recognized alone in a gray picture, as halves `[n, 3, H, W / 2]`."""
    channels, height, width = model.input_size
    assert samples.splits is not None
    halves, labels = [], []
    for row in np.flatnonzero(samples.splits == Split.TEST).tolist():
        data = samples.images.read(row)
        assert isinstance(data, bytes)
        half = resize_image(decode(data).pixels, (channels, height, width // 2), "crop")
        halves.append(torch.from_numpy(half).permute(2, 0, 1))
        labels.append(int(samples.labels[row]))
    stack, numbers = torch.stack(halves), torch.tensor(labels)
    alone = torch.full((len(stack), channels, height, width), PAD_GRAY, dtype=torch.uint8)
    alone[..., width // 4 : width // 4 + width // 2] = stack
    with torch.inference_mode():
        answers = torch.cat([model(part) for part in alone.split(BATCH)])
    known = answers.argmax(dim=1) == numbers
    return stack[known], numbers[known]


def _pairs(halves: Tensor, labels: Tensor, random: np.random.Generator) -> Pairs:
    """Return pairs of photographs of two classes, the class of one of them, and one that neither is of."""
    images, asked, absent, right = [], [], [], []
    for _ in range(PAIRS):
        one = int(random.integers(len(labels)))
        other = int(random.choice(np.flatnonzero(labels.numpy() != labels[one].item())))
        both = {int(labels[one]), int(labels[other])}
        absent.append(int(random.choice(sorted(set(labels.tolist()) - both))))
        right.append(bool(random.integers(2)))
        images.append(torch.cat([halves[other], halves[one]] if right[-1] else [halves[one], halves[other]], dim=2))
        asked.append(int(labels[one]))
    return Pairs(torch.stack(images), torch.tensor(asked), torch.tensor(absent), torch.tensor(right))


def _maps(explainer: Explainer, images: Tensor, classes: Tensor) -> Tensor:
    parts = zip(images.split(BATCH), classes.split(BATCH), strict=True)
    return torch.cat([explainer(*part) for part in parts])
