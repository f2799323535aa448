"""Transfer learning on photographs: features once and an exact head, against the tutorials' frozen epochs.

All sides take the same pretrained weights and the same pictures in the same parts, from the files to the test accuracy;
imports are not counted. The tutorial pushes every picture through the frozen network in each of five epochs.
"""

import argparse
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import made_up


def main() -> None:
    """Run one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("tutorial", "firstlight"), required=True)
    parser.add_argument("--data-root", type=Path, required=True, help="where clothing10.tar and weights/ are")
    parser.add_argument("--net", default="mobilenet_v2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5, help="of the tutorial")
    parser.add_argument("--cache", type=Path, help="where what is packed and seen is kept; begun anew by default")
    parser.add_argument("--again", action="store_true", help="be the next run after one that filled the cache")
    parser.add_argument("--finetune", default="none")
    parser.add_argument("--smoke", action="store_true", help="a few pictures, random weights")
    choices = parser.parse_args()
    if choices.again and not (choices.cache and cache_folder(choices.cache).exists()):
        parser.error("--again: --cache names no folder that a run before has filled")
    with tempfile.TemporaryDirectory() as folder:
        if choices.smoke:
            choices.data_root = make_tiny_set(Path(folder))
            choices.epochs = 1
        run = {"tutorial": tutorial, "firstlight": firstlight}[choices.side]
        print(json.dumps(run(choices, Path(folder)) | {"versions": {"torch": version("torch")}}))


def firstlight(choices: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Do all that `firstlight train --backbone` does, up to the scored and saved model."""
    from firstlight.runtime.processors import set_up_process

    set_up_process()  # as the command line does, before torch is imported
    import scipy.optimize  # noqa: F401  # imports are not timed, on any side
    import torchvision  # noqa: F401

    import firstlight as fl
    from firstlight.training.train import train

    cache = cache_folder(choices.cache or folder)
    if not choices.again:
        shutil.rmtree(cache, ignore_errors=True)
    os.environ["FIRSTLIGHT_CACHE"] = str(cache)
    recipe = fl.Recipe(
        backbone=f"torchvision:{choices.net}",
        weights=str(choices.data_root / "weights" / f"{choices.net}-imagenet.safetensors"),
        finetune=choices.finetune,
        img_size=32 if choices.smoke else None,
        seed=choices.seed,
    )
    started = time.perf_counter()
    run = train(fl.load_data(choices.data_root / "clothing10.tar"), recipe, folder / "run")
    seconds = time.perf_counter() - started
    ladder = {rung.name: rung.accuracy.value for rung in run.transfer.ladder}
    return {"seconds": seconds, "test": run.test.accuracy.value, "valid": run.valid.accuracy.value, "ladder": ladder}


def cache_folder(parent: Path) -> Path:
    """Give a folder of our own, since it is emptied."""
    return parent / "transfer"


def tutorial(choices: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Freeze, replace the last layer, and train it by Adam with every picture going through in every epoch."""
    import torch
    from safetensors.torch import load_file
    from torch import nn, optim
    from torch.utils.data import DataLoader
    from torchvision import datasets, models, transforms

    torch.manual_seed(choices.seed)
    with tarfile.open(choices.data_root / "clothing10.tar") as archive:
        archive.extractall(folder, filter="data")
    root = next(path for path in (folder, *folder.iterdir()) if (path / "train").is_dir())
    size = 32 if choices.smoke else 224

    started = time.perf_counter()
    to_tensor = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    varied = transforms.Compose([transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *to_tensor])
    plain = transforms.Compose([transforms.Resize(size * 8 // 7), transforms.CenterCrop(size), *to_tensor])
    parts = {
        part: datasets.ImageFolder(root / part, varied if part == "train" else plain)
        for part in ("train", "validation", "test")
    }
    loaders = {part: DataLoader(pictures, 64, shuffle=part == "train") for part, pictures in parts.items()}
    model = models.get_model(choices.net)
    model.load_state_dict(load_file(choices.data_root / "weights" / f"{choices.net}-imagenet.safetensors"))
    for weights in model.parameters():
        weights.requires_grad = False
    model.classifier[1] = nn.Linear(model.last_channel, len(parts["train"].classes))
    criterion, optimizer = nn.CrossEntropyLoss(), optim.Adam(model.classifier.parameters(), lr=0.001)

    def accuracy(part: str) -> float:
        model.eval()
        with torch.no_grad():
            right = sum((model(images).argmax(dim=1) == labels).sum().item() for images, labels in loaders[part])
        return right / len(parts[part])

    for _ in range(choices.epochs):
        model.train()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
    valid, test = accuracy("validation"), accuracy("test")
    seconds = time.perf_counter() - started
    words = f"RandomResizedCrop, flip; Adam 1e-3 on the head, batch 64, {choices.epochs} epochs, default workers (0), "
    words += f"one look at validation, torchvision {version('torchvision')}"
    return {"seconds": seconds, "test": test, "valid": valid, "recipe": words}


def make_tiny_set(folder: Path) -> Path:
    """Make a set of two classes and a file of random weights, only to see that the sides run."""
    from safetensors.torch import save_file
    from torchvision import models

    made_up.clothing(folder)
    (folder / "weights").mkdir()
    model = models.mobilenet_v2(weights=None)
    save_file(model.state_dict(), folder / "weights" / "mobilenet_v2-imagenet.safetensors")
    return folder


if __name__ == "__main__":
    sys.exit(main())
