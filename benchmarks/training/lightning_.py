"""Lightning as in its quick start: a LightningModule, a DataLoader, and a Trainer."""

import logging
import warnings

import lightning
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the tutorials' name
from contest import Contest, Split
from images import ImageSource, to_normalized_tensor
from torch import nn, optim
from torch.utils.data import DataLoader

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # the quick start's loader has none


class Classifier(lightning.LightningModule):
    """An MLP with its training step; reports a lap after every epoch."""

    def __init__(self, contest: Contest, num_inputs: int, num_classes: int) -> None:
        super().__init__()
        self.contest = contest
        self.model = nn.Sequential(
            *(nn.Flatten(), nn.Linear(num_inputs, 512), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.2)),
            nn.Linear(128, num_classes),
        )

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        return F.cross_entropy(self.model(images), labels)

    def configure_optimizers(self) -> optim.Optimizer:
        """Return the optimizer."""
        return optim.Adam(self.parameters(), lr=1e-3)

    def on_train_epoch_end(self) -> None:
        """End the epoch."""
        self.contest.lap()
        self.trainer.should_stop = self.contest.over


def main() -> None:
    """Train and score."""
    contest = Contest("lightning")
    lightning.seed_everything(contest.choices.seed, verbose=False)
    train, _, _ = contest.load()
    transform = to_normalized_tensor(train.images.shape[-1])
    train_loader = DataLoader(ImageSource(train, transform), batch_size=64, shuffle=True)
    model = Classifier(contest, train.images[0].size, len(np.unique(train.labels)))

    def accuracy(split: Split) -> float:
        model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(ImageSource(split, transform), batch_size=64):
                correct += (model.model(images).argmax(dim=1) == labels).sum().item()
        model.train()
        return correct / len(split.labels)

    trainer = lightning.Trainer(
        max_epochs=-1,  # the contest says when it is over
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    contest.begin(accuracy)
    trainer.fit(model, train_loader)
    contest.finish(
        "Adam 1e-3, batch 64, cross entropy, dropout 0.2; per picture: PIL, ToTensor, Normalize(0.5, 0.5); "
        "default workers (0)",
        ("lightning", "torch", "torchvision"),
    )


if __name__ == "__main__":
    main()
