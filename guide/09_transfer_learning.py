# %% [markdown]
# # 9. Transfer learning
#
# **When you are through**, you can take a network that has seen many pictures and teach
# it your classes from few: freeze it, replace its head, compute its features once, say
# in which of the four cases you are, fine-tune without breaking it, and move it between
# devices.
#
# Usually that network has seen ImageNet, a million photographs. Here you make one
# yourself, so that everything can be run and looked into: it learns the digits 0 to 6
# from many pictures, and then has to learn 7, 8 and 9 from six pictures, two of each.
# At the end, where the weights are on this machine, the same is done with a real one
# and photographs of clothes.

# %% Many pictures of some classes, few of others
import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn, optim
from torch.nn import functional

import firstlight as fl

torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())

try:
    data = fl.load_data("mnist", download=False)
except fl.UserError as reason:
    print(f"{reason}\nso this chapter uses the digits of scikit-learn")
    data = fl.load_data("digits")

rng = np.random.default_rng(0)
rows = rng.permutation(len(data))
many = rows[data.labels[rows] < 7][:10_000]
new = rows[data.labels[rows] >= 7]
draws = [
    np.concatenate(
        [new[data.labels[new] == digit][2 * i : 2 * i + 2] for digit in (7, 8, 9)]
    )
    for i in range(5)
]
few = draws[0]  # two of each; four more such draws tell how much of a result is luck
held_out = np.setdiff1d(new, np.concatenate(draws))[:1000]
print(
    f"{len(many):,} pictures of the digits 0 to 6; {len(few)} of 7, 8 and 9, and "
    f"{len(held_out):,} more to test on"
)


# %% Color pictures of 32 x 32 pixels, as the network expects
def tensors(rows):
    """Give normalized pictures [n, 3, 32, 32] and the digits that they show [n]."""
    pixels = (
        torch.from_numpy(np.stack([data.images.read(row) for row in rows]))
        .permute(0, 3, 1, 2)
        .float()
    )
    pixels = functional.interpolate(
        pixels, size=(32, 32), mode="bilinear", antialias=True
    )
    return ((pixels / 255 - 0.5) / 0.5).repeat(1, 3, 1, 1), torch.from_numpy(
        data.labels[rows]
    )


def train(network, images, labels, optimizer, epochs, batch_size=64, mode=True):
    """Train; `mode` says whether layers such as batch norms are in training mode."""
    for epoch in range(epochs):
        network.train(mode)
        order = torch.randperm(
            len(images), generator=torch.Generator().manual_seed(epoch)
        )
        for batch in order.split(batch_size):
            optimizer.zero_grad()
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()


@torch.inference_mode()
def accuracy(network, images, labels):
    """Give the share of right answers."""
    network.eval()
    return (network(images).argmax(dim=1) == labels).float().mean().item()


few_images, few_digits = tensors(few)
test_images, test_digits = tensors(held_out)
# the new classes are numbered from 0
few_labels, test_labels = (
    few_digits - 7,
    test_digits - 7,
)

# %% [markdown]
# ## A network that has seen a lot
#
# `timm` builds hundreds of published architectures by name; this one is a tiny ResNet,
# a convolutional network. We train it on 0 to 6 and write its weights to a file, as
# somebody else would have published them.

# %% Pretraining: what others have done for you
torch.manual_seed(0)
published = timm.create_model("test_resnet", num_classes=7)
many_images, many_labels = tensors(many)
epochs = max(2, 12_000 // len(many))
train(
    published,
    many_images,
    many_labels,
    optim.AdamW(published.parameters(), lr=2e-3),
    epochs,
)

from safetensors.torch import load_file, save_file

save_file(published.state_dict(), folder / "published.safetensors")
learned = accuracy(published, many_images[:1000], many_labels[:1000])
print(f"{sum(w.numel() for w in published.parameters()):,} weights")
print(f"{learned:.3f} right on a thousand of the digits that it learned from")


def pretrained():
    """Give the network with the published weights."""
    network = timm.create_model("test_resnet", num_classes=7)
    network.load_state_dict(load_file(folder / "published.safetensors"))
    return network


# %% [markdown]
# ## From nothing
#
# First the measure of everything that follows: the same network with fresh weights, and
# only the few pictures.

# %% From scratch
scores = []
for seed, draw in enumerate(
    draws
):  # so few pictures make it a lottery: take the mean of five draws
    torch.manual_seed(seed)
    scratch = timm.create_model("test_resnet", num_classes=3)
    drawn_images, drawn_labels = tensors(draw)
    train(
        scratch,
        drawn_images,
        drawn_labels - 7,
        optim.AdamW(scratch.parameters(), lr=2e-3),
        epochs=40,
        batch_size=6,
    )
    scores.append(accuracy(scratch, test_images, test_labels))
from_scratch, same_six = float(np.mean(scores)), scores[0]
print(
    f"from scratch, with {len(few)} pictures: {from_scratch:.3f}, of "
    + ", ".join(f"{score:.3f}" for score in scores)
)

# %% [markdown]
# ## Freeze, and replace the head
#
# A network has a **backbone**, which turns a picture into a row of numbers, its
# *features*, and a **head**, one linear layer from features to logits. The backbone has
# learned what strokes, corners and loops are; the head only which of them make a 3. For
# new classes, keep the first and replace the second. What is frozen gets no gradient,
# and is left out of the optimizer.

# %% Frozen backbone, new head
frozen = pretrained()
for weights in frozen.parameters():
    weights.requires_grad_(False)
frozen.fc = nn.Linear(frozen.fc.in_features, 3)  # fresh, so it learns

learning = [
    name for name, weights in frozen.named_parameters() if weights.requires_grad
]
print("what learns:", ", ".join(learning))
assert learning == ["fc.weight", "fc.bias"]

train(
    frozen,
    few_images,
    few_labels,
    optim.AdamW(frozen.fc.parameters(), lr=1e-2),
    epochs=40,
    batch_size=6,
    mode=False,
)
with_frozen = accuracy(frozen, test_images, test_labels)
print(f"frozen backbone, new head: {with_frozen:.3f}; from scratch: {same_six:.3f}")
assert with_frozen > 0.4  # guessing is right once in three

for name, tensor in pretrained().state_dict().items():
    # nothing else has moved
    assert name.startswith("fc.") or torch.equal(tensor, frozen.state_dict()[name])

# %% [markdown]
# > **Then and now.** Freezing by `requires_grad = False` is only half of it. A batch
# > norm also keeps running statistics, and in training mode it goes on updating them,
# > gradient or not. So a "frozen" network drifts. Above, `mode=False` kept it still;
# > here is what happens without:

# %% Batch norms drift unless they are in eval mode
drifting = copy.deepcopy(frozen)
before = drifting.bn1.running_mean.clone()
train(
    drifting,
    few_images,
    few_labels,
    optim.AdamW(drifting.fc.parameters(), lr=1e-2),
    epochs=5,
    batch_size=6,
)
print(
    f"running means moved by {(drifting.bn1.running_mean - before).abs().max():.3f} "
    "though the backbone was frozen"
)
assert not torch.equal(drifting.bn1.running_mean, before)
assert not drifting.bn1.weight.requires_grad

# %% [markdown]
# Which layer is the head? Each family calls it otherwise: `fc`, `classifier`,
# `classifier.1`, `heads.head`. It is the layer whose shape follows the number of
# classes, so it can be found without knowing its name:


# %% Find the head by what it does
def find_head(build):
    """Name the layer that differs between a network of two classes and one of three."""
    two, three = (dict(build(classes).named_parameters()) for classes in (2, 3))
    changed = {
        name.rpartition(".")[0] for name in two if two[name].shape != three[name].shape
    }
    (head,) = changed
    return head


for name in ("test_resnet", "test_vit", "test_efficientnet", "test_convnext"):
    print(
        f"{name:18}",
        find_head(
            lambda classes, name=name: timm.create_model(name, num_classes=classes)
        ),
    )
assert (
    find_head(lambda classes: timm.create_model("test_resnet", num_classes=classes))
    == "fc"
)

# %% [markdown]
# ## Features once
#
# The frozen backbone gives the same features in every epoch. So compute them once, and
# train the head on the table: the same result in less time, since the backbone runs
# once and not once an epoch. The price: no augmentation, unless you look at several
# views of each picture.

# %% The backbone looks once
body = pretrained().eval()
body.fc = nn.Identity()  # a layer that gives back what it gets

with torch.no_grad():
    test_features = body(test_images)
    started = time.perf_counter()
    few_features = body(few_images)
seconds_to_look = time.perf_counter() - started

torch.manual_seed(1)
head = nn.Linear(few_features.shape[1], 3)
through_network = copy.deepcopy(frozen)
through_network.fc = copy.deepcopy(head)

started = time.perf_counter()
train(
    head,
    few_features,
    few_labels,
    optim.SGD(head.parameters(), lr=0.1),
    epochs=20,
    batch_size=6,
)
seconds_on_features = time.perf_counter() - started

started = time.perf_counter()
optimizer = optim.SGD(through_network.fc.parameters(), lr=0.1)
train(
    through_network,
    few_images,
    few_labels,
    optimizer,
    epochs=20,
    batch_size=6,
    mode=False,
)
seconds_through_network = time.perf_counter() - started

print(
    f"20 epochs: {seconds_through_network:.2f} s through the network; "
    f"{seconds_to_look:.2f} s to look once and "
    f"{seconds_on_features:.2f} s on features"
)
same = (
    (head(test_features).argmax(dim=1) == through_network(test_images).argmax(dim=1))
    .float()
    .mean()
)
assert same > 0.99  # the same head, but for rounding
assert seconds_to_look + seconds_on_features < seconds_through_network

# %% [markdown]
# And a linear head on fixed features, with a little weight decay (`C` says how little),
# is a problem with *one* best answer, multinomial logistic regression. It need not be
# trained at all: it is solved.

# %% The head, solved
from sklearn.linear_model import LogisticRegression

scores = []
for draw in draws:
    drawn_images, drawn_digits = tensors(draw)
    with torch.no_grad():
        drawn_features = body(drawn_images)
    solved = LogisticRegression(C=1.0, max_iter=2000).fit(
        drawn_features.numpy(), drawn_digits.numpy() - 7
    )
    scores.append(solved.score(test_features.numpy(), test_labels.numpy()))
by_solving = float(np.mean(scores))
print(
    f"head solved, mean of the five draws: {by_solving:.3f}; from scratch: "
    f"{from_scratch:.3f}"
)
assert by_solving > from_scratch

# %% [markdown]
# ## The four cases
#
# How much of the network should learn? Two questions decide: how many pictures have you
# got, and are they like those that it was trained on?
#
# | | near (photographs, mostly) | far (X-rays, drawings) |
# |---|---|---|
# | **few pictures** | the head only | the head, on an earlier layer |
# | **many pictures** | fine-tune all, gently | fine-tune all, or train from scratch |
#
# "Few" is not a number. firstlight measures: if twice the pictures still made the head
# clearly better, there are few.

# %% [markdown]
# ## Fine-tuning
#
# Once the head is good, let the backbone learn as well, at a much smaller rate: what it
# knows is worth more than what six pictures can say. Not earlier: a fresh head sends
# large, senseless gradients into layers that were fine.

# %% Fine-tune, with a smaller rate below
tuned = pretrained()
tuned.fc = copy.deepcopy(frozen.fc)
backbone = [
    weights for name, weights in tuned.named_parameters() if not name.startswith("fc.")
]
# a list of dictionaries gives each group of parameters its own rate
optimizer = optim.AdamW(
    [{"params": backbone, "lr": 1e-4}, {"params": tuned.fc.parameters(), "lr": 1e-3}]
)
train(tuned, few_images, few_labels, optimizer, epochs=20, batch_size=6, mode=False)
fine_tuned = accuracy(tuned, test_images, test_labels)
print(f"fine-tuned {fine_tuned:.3f}, frozen {with_frozen:.3f}, scratch {same_six:.3f}")
assert fine_tuned > with_frozen - 0.1  # gentle: it does not break what was good

# %% [markdown]
# ## Devices
#
# Networks of this kind are where a graphics card pays. Move the network *before* you
# make the optimizer, and every batch to where the network is. Features come back to the
# processor, since that is where scikit-learn and NumPy are.

# %% Moving
device = (
    torch.accelerator.current_accelerator()
    if torch.accelerator.is_available()
    else torch.device("cpu")
)
body = body.to(device)
with torch.inference_mode():
    features = torch.cat(
        [body(batch.to(device)).cpu() for batch in few_images.split(16)]
    )
# graphics cards round a little more coarsely
assert (features - few_features).norm() < 0.01 * few_features.norm()
print("computed on", device)

# %% [markdown]
# ## The library's line
#
# `backbone` names the architecture, `weights` the file; without it, published weights
# are found where torchvision or timm keep them, or fetched. All pictures go through the
# backbone once and the head is solved. Then methods are compared, from the simplest up,
# like rungs of a *ladder*: always guessing the most frequent class; *nearest
# neighbors*, the labels of the pictures with the most similar features; and the linear
# head. It gets forty pictures of each new digit here, since some are needed to validate
# and to test on.

# %% The library does it
some = np.concatenate([new[data.labels[new] == digit][:40] for digit in (7, 8, 9)])
images = np.stack([data.images.read(row)[:, :, 0] for row in some])
words = np.array([f"digit {label}" for label in data.labels[some]])
recipe = fl.Recipe(
    backbone="timm:test_resnet",
    weights=str(folder / "published.safetensors"),
    img_size=32,
)
run = fl.train((images, words), recipe)

for rung in run.transfer.ladder:
    print(f"{rung.name:12} validation accuracy {rung.accuracy}")
print("test", run.test.accuracy)
majority, *_, linear_head = [rung.accuracy.value for rung in run.transfer.ladder]
assert linear_head > majority

# %% And with a network that has seen a million photographs
from firstlight.data.sources.named_sets import default_data_root

weights = default_data_root() / "weights" / "mobilenet_v2-imagenet.safetensors"
clothes = default_data_root() / "clothing10.tar"
if weights.is_file() and clothes.is_file():
    photographs = fl.load_data(clothes)
    real = fl.train(
        photographs,
        fl.Recipe(backbone="torchvision:mobilenet_v2", weights=str(weights)),
    )
    print(
        f"{len(real.data.split.train)} photographs of {len(photographs.classes)} "
        "kinds of clothes to learn from, "
        f"{real.seconds['total']:.0f} s"
    )
    for rung in real.transfer.ladder:
        print(f"{rung.name:12} validation accuracy {rung.accuracy}")
    print("test", real.test.accuracy)
    assert real.test.accuracy.value > 0.75
    shown = real.mistakes[:6]
    fl.image_grid(
        [real.data.store.pixels[m.row] for m in shown],
        [
            f"{photographs.classes[m.label]}\nseen as "
            f"{photographs.classes[m.predicted]}"
            for m in shown
        ],
    )
else:
    print(
        f"{weights.name} and {clothes.name} are not in {weights.parent.parent}: "
        "left out"
    )

# %% [markdown]
# To fine-tune as far as it pays, say `ladder=True`; to learn whether more pictures
# would help, `learning_curve=True`. The command line has the same words:
#
# ```sh
# firstlight train ~/photos --backbone auto --ladder --learning-curve
# ```

# %% [markdown]
# ## Exercises
#
# **1.** How few are few? Solve the head with 1, 2, 4, 8 and 16 pictures a class, ten
# times each with other pictures, and draw the mean accuracy.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
import matplotlib.pyplot as plt

counts, means = (1, 2, 4, 8, 16), []
for count in counts:
    scores = []
    for _ in range(10):
        shuffled = rng.permutation(len(test_features))
        chosen = np.concatenate(
            [shuffled[test_labels[shuffled] == label][:count] for label in range(3)]
        )
        rest = np.setdiff1d(shuffled, chosen)
        solved = LogisticRegression(max_iter=2000).fit(
            test_features[chosen].numpy(), test_labels[chosen].numpy()
        )
        scores.append(
            solved.score(test_features[rest].numpy(), test_labels[rest].numpy())
        )
    means.append(np.mean(scores))
plt.figure(figsize=(5, 2.6), layout="constrained")
plt.semilogx(counts, means, "o-", base=2)
plt.xlabel("pictures a class")
plt.ylabel("accuracy")
assert means[-1] > means[0]

# %% [markdown]
# **2.** Fine-tune with a rate of 0.1 for all layers, from a fresh head. What happens to
# what the backbone knew?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
torch.manual_seed(0)
wrecked = pretrained()
wrecked.fc = nn.Linear(wrecked.fc.in_features, 3)
train(
    wrecked,
    few_images,
    few_labels,
    optim.AdamW(wrecked.parameters(), lr=0.1),
    epochs=10,
    batch_size=6,
    mode=False,
)
print(
    f"{accuracy(wrecked, test_images, test_labels):.3f}, where the frozen one had "
    f"{with_frozen:.3f}"
)
assert accuracy(wrecked, test_images, test_labels) < with_frozen

# %% [markdown]
# **3.** The head of `torchvision.models.mobilenet_v2` is called `classifier.1`. Replace
# it for 3 classes, freeze the rest, and count what learns.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
from torchvision.models import mobilenet_v2

network = mobilenet_v2(weights=None)
for weights in network.parameters():
    weights.requires_grad_(False)
network.classifier[1] = nn.Linear(network.classifier[1].in_features, 3)
learned = sum(
    weights.numel() for weights in network.parameters() if weights.requires_grad
)
total = sum(weights.numel() for weights in network.parameters())
print(f"{learned:,} of {total:,} weights learn")
assert learned == (1280 + 1) * 3
assert (
    find_head(lambda classes: mobilenet_v2(weights=None, num_classes=classes))
    == "classifier.1"
)
