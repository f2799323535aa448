# %% [markdown]
# # 5. Fashion-MNIST
#
# **When you are through**, you can take a harder set from start to finish: split the
# pictures, choose the network, the optimizer, and the learning rate, watch validation
# while you train, score once, and find out what the network confuses.
#
# Fashion-MNIST has the same size as MNIST, 28 x 28 gray pixels and ten classes, but it
# shows clothes: a shirt and a coat look more alike than a 1 and a 7. If it is not on
# this machine, this chapter uses the digits of scikit-learn, which are easier.

# %% Load the pictures
import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional

import firstlight as fl

torch.manual_seed(7)

try:
    data = fl.load_data("fashion-mnist", download=False)
except fl.UserError as reason:
    print(f"{reason}\nso this chapter uses the digits of scikit-learn")
    data = fl.load_data("digits")
classes = data.classes

# %% One picture of each class
firsts = [int(np.flatnonzero(data.labels == label)[0]) for label in range(len(classes))]
fl.image_grid([data.images.read(row) for row in firsts], list(classes))

# %% [markdown]
# ## Split
#
# There are three splits, and each has one purpose. **Train**: the network learns from
# it. **Validation**: you make choices with it, as often as you like. **Test**: you
# score it once, at the end, and report the result. Fashion-MNIST comes with a test
# split, which we keep; some of its training pictures become validation pictures.

# %% Train, validation and test rows
from firstlight.data.samples import Split

rng = np.random.default_rng(0)
if data.splits is None:  # the digits
    rows = rng.permutation(len(data))
    test_rows, rest = rows[:300], rows[300:]
else:
    official = data.splits
    test_rows, rest = (
        np.flatnonzero(official == Split.TEST),
        rng.permutation(np.flatnonzero(official == Split.TRAIN)),
    )
n_valid = len(rest) // 6
# 20,000 to save time; the library uses all of them
valid_rows, train_rows = (
    rest[:n_valid],
    rest[n_valid:][:20_000],
)
print(
    f"{len(train_rows):,} to train on, {len(valid_rows):,} to choose by, "
    f"{len(test_rows):,} to test on"
)

assert not set(train_rows) & set(valid_rows) and not set(test_rows) & set(rest)

# %% [markdown]
# If the pictures fit into memory, you do not need a `DataLoader`: put them all into one
# tensor, draw one random order per epoch, and take slices of it. Nothing is done one
# picture at a time, and chapter 8 shows how much time that saves.

# %% All pictures as one tensor
# uint8 [N, H, W, C]
stack = np.stack([data.images.read(row) for row in range(len(data))])


def tensors(rows):
    """Return normalized pictures [n, C, H, W] and labels [n]."""
    pixels = torch.from_numpy(stack[rows]).permute(0, 3, 1, 2)
    return (pixels.float() / 255 - 0.5) / 0.5, torch.from_numpy(data.labels[rows])


train_images, train_labels = tensors(train_rows)
valid_images, valid_labels = tensors(valid_rows)

# %% [markdown]
# ## Network and loop
#
# These are the same as in chapter 4, with a slightly wider network, and as functions
# that we can use again.


# %% Network, loop and score
def new_network(seed=0):
    """Return an untrained network; the same seed gives the same weights."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(train_images[0].numel(), 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, len(classes)),
    )


def train_epoch(network, optimizer, epoch, batch_size=128):
    """Train on every training picture once; return the mean loss."""
    order = torch.randperm(
        len(train_images), generator=torch.Generator().manual_seed(epoch)
    )
    total = 0.0
    for rows in order.split(batch_size):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(train_images[rows]), train_labels[rows])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(train_images)


@torch.no_grad()  # like the context in chapter 4, but for a whole function
def accuracy(network, images, labels):
    """Return the proportion of right answers."""
    return (network(images).argmax(dim=1) == labels).float().mean().item()


# %% [markdown]
# ## Adam
#
# SGD uses the same learning rate for every weight. **Adam** divides each weight's step
# by the typical size of its gradient, so that weights with small gradients move as
# well. It also steps along a running mean of the recent gradients (*momentum*), so that
# noise cancels out. Start with this optimizer: it works right away on almost
# everything, at a learning rate near 0.001.

# %% SGD and Adam side by side
histories = {}
for name, optimizer_class, lr in (
    ("SGD", optim.SGD, 0.01),
    ("Adam", optim.Adam, 0.001),
):
    network = new_network()
    optimizer = optimizer_class(network.parameters(), lr=lr)
    histories[name] = []
    for epoch in range(3):
        train_epoch(network, optimizer, epoch)
        histories[name].append(accuracy(network, valid_images, valid_labels))
    print(f"{name:5} " + "  ".join(f"{value:.3f}" for value in histories[name]))

assert histories["Adam"][-1] > histories["SGD"][-1]

# %% What Adam does, by hand
weights = torch.tensor([1.0, 1.0], requires_grad=True)
mine = weights.detach().clone()
optimizer = optim.Adam([weights], lr=0.1)
mean, square = torch.zeros(2), torch.zeros(2)
for step in range(1, 4):
    optimizer.zero_grad()
    # one steep direction and one flat one
    loss = 100 * weights[0] ** 2 + 0.01 * weights[1] ** 2
    loss.backward()
    gradient = torch.stack([200 * mine[0], 0.02 * mine[1]])
    optimizer.step()
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    unbiased_mean, unbiased_square = mean / (1 - 0.9**step), square / (1 - 0.999**step)
    mine -= 0.1 * unbiased_mean / (unbiased_square.sqrt() + 1e-8)
print("after three steps:", weights.tolist())
assert torch.allclose(weights, mine, atol=1e-5)
assert abs(weights[0] - weights[1]) < 0.01  # the steps are the same size, steep or flat

# %% [markdown]
# ## The learning rate
#
# The learning rate is the most important number to get right. Try values that are a
# factor of ten apart, one short run each, and choose **by validation**. If it is too
# small, the network barely learns; if it is too large, the loss jumps around. There is
# plenty of room in between.

# %% Five learning rates, chosen by validation
import matplotlib.pyplot as plt

rates = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
scores = []
for lr in rates:
    network = new_network()
    train_epoch(network, optim.Adam(network.parameters(), lr=lr), 0)
    scores.append(accuracy(network, valid_images, valid_labels))
best = rates[int(np.argmax(scores))]

plt.figure(figsize=(5, 2.6), layout="constrained")
plt.semilogx(rates, scores, "o-")
plt.xlabel("learning rate")
plt.ylabel("validation accuracy\nafter one epoch")
print(f"best of these: {best:g}")
assert best in rates[1:4]  # neither of the extremes
assert scores[-1] < max(scores)

# %% [markdown]
# ## The whole run
#
# Train, check validation after every epoch, and keep the weights of the best one.

# %% Train and keep the best
import copy

network = new_network()
optimizer = optim.Adam(network.parameters(), lr=best)
history, best_score, best_network = [], 0.0, None
for epoch in range(6):
    loss = train_epoch(network, optimizer, epoch)
    score = accuracy(network, valid_images, valid_labels)
    history.append((loss, score))
    print(
        f"epoch {epoch + 1}: training loss {loss:.3f}, validation accuracy {score:.3f}"
    )
    if score > best_score:
        best_score, best_network = score, copy.deepcopy(network)

assert best_score == max(score for _, score in history)

# %% Only now, and only once: the test split
test_images, test_labels = tensors(test_rows)
by_hand = accuracy(best_network, test_images, test_labels)
print(f"test accuracy {by_hand:.3f}, n = {len(test_labels):,}")
assert by_hand > 0.7

# %% [markdown]
# ## The same with the library
#
# The library takes the same steps: it splits, chooses the best epoch by validation, and
# scores once. It uses all training pictures and AdamW with a learning rate that rises
# and falls, and it looks for copies of the same picture on both sides of the split.

# %% The whole run in one line
run = fl.train(data, model="mlp", epochs=5)
print(run.test)
print(
    f"by hand {by_hand:.3f}; by the library {run.test.accuracy}, "
    f"{run.seconds['total']:.0f} s in all"
)
# it does not have to win every time, but it must not be clearly worse
assert run.test.accuracy.high > by_hand

# %% [markdown]
# `fl.train(data, model="cnn")` builds a *convolutional* network: small filters slide
# over the picture, so it recognizes a sleeve wherever it is. It scores higher, and
# takes minutes.

# %% Loss and accuracy over the epochs
fl.training_curves([vars(epoch) for epoch in run.history], best=run.best_epoch)

# %% [markdown]
# ## What does it confuse?
#
# An accuracy is an average, but the classes are not equally hard. (Chapter 6 explains
# precision, recall, and F1.)

# %% The confusion matrix
fl.confusion_matrix(run.test.confusion, classes)

# %% Class by class
ordered = sorted(run.test.per_class, key=lambda scores: scores.f1.value)
for scores in ordered:
    print(
        f"{scores.name:12} precision {scores.precision.value:.3f}  recall "
        f"{scores.recall.value:.3f}"
        f"  F1 {scores.f1.value:.3f} [{scores.f1.low:.3f}, {scores.f1.high:.3f}]"
    )
print(f"\nhardest: {ordered[0].name}, easiest: {ordered[-1].name}")
assert ordered[0].f1.value <= run.test.macro_f1.value <= ordered[-1].f1.value

# %% What the hardest class is mistaken for
confusion = np.array(run.test.confusion)
hardest = classes.index(ordered[0].name)
others = np.argsort(
    -np.where(np.arange(len(classes)) == hardest, -1, confusion[hardest])
)[:3]
print(
    f"{classes[hardest]} is mistaken for "
    + ", ".join(f"{classes[k]} ({confusion[hardest, k]})" for k in others)
)

# %% The most confident mistakes
if run.mistakes:
    shown = run.mistakes[:10]
    fl.image_grid(
        [data.images.read(mistake.row) for mistake in shown],
        [f"{classes[m.label]}\nread as {classes[m.predicted]}" for m in shown],
    )

# %% [markdown]
# > **Then and now.** The notes stop at a heading here. In the course that they follow,
# > validation means scoring the test pictures after every epoch. If you choose the
# > number of epochs, the learning rate, or the network by the score on the test
# > pictures, that score no longer tells you how good the network is: chapter 6
# > demonstrates this with models that know nothing.

# %% [markdown]
# ## Exercises
#
# **1.** How few pictures are enough? Train on 100, 300, 1,000, and 10,000 pictures (as
# many as you have), and plot validation accuracy against that number.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
counts = [count for count in (100, 300, 1000, 10_000) if count <= len(train_images)]
everything = train_images, train_labels
curve = []
for count in counts:
    train_images, train_labels = everything[0][:count], everything[1][:count]
    network = new_network()
    optimizer = optim.Adam(network.parameters(), lr=1e-3)
    for epoch in range(
        max(1, 64 * 150 // count)
    ):  # about the same number of steps for each
        train_epoch(network, optimizer, epoch, batch_size=min(64, count))
    curve.append(accuracy(network, valid_images, valid_labels))
train_images, train_labels = everything

plt.figure(figsize=(5, 2.6), layout="constrained")
plt.semilogx(counts, curve, "o-")
plt.xlabel("training pictures")
plt.ylabel("validation accuracy")
assert curve[-1] > curve[0]

# %% [markdown]
# **2.** Which two classes would you merge if you could? Merge them in the confusion
# matrix. How does the accuracy change, without any new training?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
both = confusion + confusion.T
np.fill_diagonal(both, 0)
one, two = np.unravel_index(both.argmax(), both.shape)
gained = both[one, two] / confusion.sum()
print(
    f"{classes[one]} and {classes[two]} as one class: {run.test.accuracy.value:.3f} "
    f"becomes {run.test.accuracy.value + gained:.3f}"
)
assert gained >= 0

# %% [markdown]
# **3.** Is a larger network better? Train with `hidden=(64,)` and with `hidden=(512,
# 512)`. Compare validation accuracy (`run.valid`), not test accuracy. Why?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
small = fl.train(data, model="mlp", hidden=(64,), epochs=3)
large = fl.train(data, model="mlp", hidden=(512, 512), epochs=3)
print(f"64: {small.valid.accuracy}\n512, 512: {large.valid.accuracy}")
# You are making a choice, so use validation; the test split is for the final score.
assert small.valid.n == large.valid.n
