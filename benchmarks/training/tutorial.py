"""The loop of the PyTorch tutorials: a DataLoader of PIL images, an nn.Module, NLLLoss, and Adam."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the tutorials' name
from contest import Contest, Split
from images import ImageSource, to_normalized_tensor
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import transforms


class Mlp(nn.Module):
    """Three hidden layers with dropout."""

    def __init__(self, height: int, width: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(height * width * channels, 512)
        self.fc2 = nn.Linear(512, 256)
        self.fc3 = nn.Linear(256, 128)
        self.fc4 = nn.Linear(128, num_classes)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities [B, num_classes] of images [B, C, H, W]."""
        x = x.view(x.shape[0], -1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        x = self.dropout(F.relu(self.fc3(x)))
        return F.log_softmax(self.fc4(x), dim=1)


class Cnn(nn.Module):
    """Two 3 x 3 convolutions for gray images, three for color, each followed by a max pool that halves the size."""

    def __init__(self, height: int, width: int, channels: int, num_classes: int) -> None:
        super().__init__()
        widths, hidden = ((32, 64), 128) if channels == 1 else ((32, 64, 128), 256)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip((channels, *widths), widths, strict=False)
        )
        shrunk = 2 ** len(widths)
        self.fc1 = nn.Linear(widths[-1] * (height // shrunk) * (width // shrunk), hidden)
        self.fc2 = nn.Linear(hidden, num_classes)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities [B, num_classes] of images [B, C, H, W]."""
        for convolution in self.convolutions:
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        x = self.dropout1(torch.flatten(x, 1))
        x = self.dropout2(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


def main() -> None:
    """Train and score."""
    contest = Contest("tutorial", nets=("mlp", "cnn"))
    torch.manual_seed(contest.choices.seed)
    train, _, _ = contest.load()
    height, width, channels = train.images.shape[1:]

    plain = to_normalized_tensor(channels)
    augments = contest.choices.net == "cnn" and channels == 3
    augmented = transforms.Compose(
        [transforms.RandomHorizontalFlip(), transforms.RandomCrop((height, width), padding=4), plain]
    )
    train_loader = DataLoader(ImageSource(train, augmented if augments else plain), batch_size=64, shuffle=True)

    network = {"mlp": Mlp, "cnn": Cnn}[contest.choices.net]
    model = network(height, width, channels, len(np.unique(train.labels)))
    criterion = nn.NLLLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.001)

    def accuracy(split: Split) -> float:
        model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(ImageSource(split, plain), batch_size=64):
                correct += (model(images).argmax(dim=1) == labels).sum().item()
        return correct / len(split.labels)

    contest.begin(accuracy)
    while not contest.over:
        model.train()
        running_loss = 0.0
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        contest.lap()

    changes = "RandomHorizontalFlip, RandomCrop(padding=4), " if augments else ""
    dropout = "dropout 0.2" if contest.choices.net == "mlp" else "dropout 0.25 and 0.5"
    contest.finish(
        f"Adam 1e-3, batch 64, NLLLoss, {dropout}; per picture: PIL, {changes}ToTensor, Normalize(0.5, 0.5); "
        "default workers (0)",
        ("torch", "torchvision"),
    )


if __name__ == "__main__":
    main()
