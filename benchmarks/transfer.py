"""Transfer learning on photographs: features once and an exact head, compared with the tutorials' frozen epochs.

All sides use the same pretrained weights and the same pictures in the same splits, and go from the files to the test
accuracy; imports are not counted. The tutorial sends every picture through the frozen network in each of five epochs.
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
    parser.add_argument("--data-root", type=Path, required=True, help="folder with clothing10.tar and weights/")
    parser.add_argument("--net", default="mobilenet_v2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5, help="epochs of the tutorial")
    parser.add_argument("--cache", type=Path, help="folder for packed pictures and features; empty by default")
    parser.add_argument("--again", action="store_true", help="use what an earlier run left in the cache")
    parser.add_argument("--finetune", default="none")
    parser.add_argument("--smoke", action="store_true", help="a few made-up pictures, and random weights")
    choices = parser.parse_args()
    if choices.again and not (choices.cache and cache_folder(choices.cache).exists()):
        parser.error("--again: --cache must name a folder that an earlier run has filled")
    with tempfile.TemporaryDirectory() as folder:
        if choices.smoke:
            choices.data_root = make_tiny_set(Path(folder))
            choices.epochs = 1
        run = {"tutorial": tutorial, "firstlight": firstlight}[choices.side]
        print(json.dumps(run(choices, Path(folder)) | {"versions": {"torch": version("torch")}}))


def firstlight(choices: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Do everything that `firstlight train --model NAME` does, up to the scored and saved model."""
    from firstlight.runtime.processors import set_up_process

    set_up_process()  # as the command line does, before torch is imported
    import scipy.optimize  # noqa: F401  # imports are not timed for any side
    import torchvision  # noqa: F401

    import firstlight as fl
    from firstlight.training.train import train

    cache = cache_folder(choices.cache or folder)
    if not choices.again:
        shutil.rmtree(cache, ignore_errors=True)
    os.environ["FIRSTLIGHT_CACHE"] = str(cache)
    recipe = fl.Recipe.of(
        model=f"torchvision:{choices.net}",
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
    """Return a folder that only this script uses, because it is emptied."""
    return parent / "transfer"


def tutorial(choices: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Freeze, replace the last layer, and train it with Adam, sending every picture through in every epoch."""
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
    splits = {
        split: datasets.ImageFolder(root / split, varied if split == "train" else plain)
        for split in ("train", "validation", "test")
    }
    loaders = {split: DataLoader(images, 64, shuffle=split == "train") for split, images in splits.items()}
    model = models.get_model(choices.net)
    model.load_state_dict(load_file(choices.data_root / "weights" / f"{choices.net}-imagenet.safetensors"))
    for weights in model.parameters():
        weights.requires_grad = False
    model.classifier[1] = nn.Linear(model.last_channel, len(splits["train"].classes))
    criterion, optimizer = nn.CrossEntropyLoss(), optim.Adam(model.classifier.parameters(), lr=0.001)

    def accuracy(split: str) -> float:
        model.eval()
        with torch.no_grad():
            right = sum((model(images).argmax(dim=1) == labels).sum().item() for images, labels in loaders[split])
        return right / len(splits[split])

    for _ in range(choices.epochs):
        model.train()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
    valid, test = accuracy("validation"), accuracy("test")
    seconds = time.perf_counter() - started
    words = f"RandomResizedCrop, flip; Adam 1e-3 on the head, batch 64, {choices.epochs} epochs, default workers (0), "
    words += f"scored on validation once, torchvision {version('torchvision')}"
    return {"seconds": seconds, "test": test, "valid": valid, "recipe": words}


def make_tiny_set(folder: Path) -> Path:
    """Make a set of two classes and a file of random weights, only to check that the sides run."""
    from safetensors.torch import save_file
    from torchvision import models

    made_up.clothing(folder)
    (folder / "weights").mkdir()
    model = models.mobilenet_v2(weights=None)
    save_file(model.state_dict(), folder / "weights" / "mobilenet_v2-imagenet.safetensors")
    return folder


if __name__ == "__main__":
    sys.exit(main())
