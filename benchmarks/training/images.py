"""Arrays as a data set in torchvision's style: each item is a PIL image with a transform applied."""

from collections.abc import Callable

import torch
from contest import Split
from PIL import Image
from torch.utils.data import Dataset
from torchvision import transforms


class ImageSource(Dataset):
    """A split whose items are (transformed image, label), as in `datasets.MNIST` or `datasets.CIFAR10`."""

    def __init__(self, split: Split, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.images = split.images[..., 0] if split.images.shape[-1] == 1 else split.images
        self.labels = split.labels
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return one transformed image and its label."""
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def to_normalized_tensor(channels: int) -> transforms.Compose:
    """Return the tutorials' transform: floats from -1 to 1."""
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * channels, (0.5,) * channels)])
