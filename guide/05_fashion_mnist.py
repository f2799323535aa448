# %% [markdown]
# # 5. Fashion-MNIST
#
# **When you are through**, you can walk the whole road on a harder set: split the
# pictures, choose network, optimizer and learning rate, train with a look at
# validation, score once, and ask what the network confuses.
#
# Fashion-MNIST has the size of MNIST, 28 x 28 gray pixels and ten classes, but shows
# clothes: a shirt and a coat differ less than a 1 and a 7. Where it is not on this
# machine, the digits of scikit-learn stand in, and are easier.

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

# %% One of each
firsts = [int(np.flatnonzero(data.labels == label)[0]) for label in range(len(classes))]
fl.image_grid([data.images.read(row) for row in firsts], list(classes))

# %% [markdown]
# ## Split
#
# Three parts, and each has one use. **Train**: the weights are fitted to it.
# **Validation**: you choose by it, as often as you like. **Test**: you look at it once,
# at the end, and report. A set that comes split, as this one does, keeps its test part;
# a part of its training pictures becomes validation.

# %% Train, validation and test rows
rng = np.random.default_rng(0)
if data.splits is None:  # the digits
    rows = rng.permutation(len(data))
    test_rows, rest = rows[:300], rows[300:]
else:
    official = data.splits  # 0 train, 1 validation, 2 test
    test_rows, rest = (
        np.flatnonzero(official == 2),
        rng.permutation(np.flatnonzero(official == 0)),
    )
n_valid = len(rest) // 6
# 20,000 to be quick; the library takes all
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
# Pictures that fit into memory need no `DataLoader`: one tensor for all, one random
# order an epoch, and slices of it. Nothing is done picture by picture, and chapter 8
# shows what that saves.

# %% All pictures as one tensor
# uint8 [N, H, W, C]
stack = np.stack([data.images.read(row) for row in range(len(data))])


def tensors(rows):
    """Give normalized pictures [n, C, H, W] and labels [n]."""
    pixels = torch.from_numpy(stack[rows]).permute(0, 3, 1, 2)
    return (pixels.float() / 255 - 0.5) / 0.5, torch.from_numpy(data.labels[rows])


train_images, train_labels = tensors(train_rows)
valid_images, valid_labels = tensors(valid_rows)

# %% [markdown]
# ## Network and loop
#
# The same as in chapter 4, a little wider, as functions that can be used again.


# %% Network, loop and score
def new_network(seed=0):
    """Give a fresh network; the same seed, the same weights."""
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
    """See every training picture once; give the mean loss."""
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


@torch.no_grad()  # as the context of chapter 4, for a whole function
def accuracy(network, images, labels):
    """Give the share of right answers."""
    return (network(images).argmax(dim=1) == labels).float().mean().item()


# %% [markdown]
# ## Adam
#
# SGD takes the same rate for every weight. **Adam** divides each weight's step by the
# usual size of its gradient, so that weights with small gradients move as well, and
# steps along a running mean of the last gradients (*momentum*), so that noise cancels
# out. It is the optimizer to begin with: it works at once, at a learning rate near
# 0.001, on nearly everything.

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
    # one steep direction, one flat
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
assert abs(weights[0] - weights[1]) < 0.01  # steep or flat, the steps are alike

# %% [markdown]
# ## The learning rate
#
# The one number to get right. Try values a factor of ten apart, one short run each, and
# choose **by validation**. Too small learns little, too large is thrown about; in
# between there is room.

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
# Train, look at validation after every epoch, and keep the weights of the best one.

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

# %% And only now the test part, once
test_images, test_labels = tensors(test_rows)
by_hand = accuracy(best_network, test_images, test_labels)
print(f"test accuracy {by_hand:.3f}, n = {len(test_labels):,}")
assert by_hand > 0.7

# %% [markdown]
# ## The library's line
#
# The same road: split, choose the best epoch by validation, score once. It takes all
# training pictures, AdamW with a rate that rises and falls, and looks for copies of a
# picture that stand on both sides of the split.

# %% The whole road in one line
run = fl.train(data, fl.Recipe(model="mlp", epochs=5))
print(run.test)
print(
    f"by hand {by_hand:.3f}; by the library {run.test.accuracy}, "
    f"{run.seconds['total']:.0f} s in all"
)
# it need not win every time, but must not be clearly worse
assert run.test.accuracy.high > by_hand

# %% [markdown]
# `fl.Recipe(model="cnn")` builds a *convolutional* network: small filters slide over
# the picture, so that a sleeve is a sleeve wherever it is. It does better, and takes
# minutes.

# %% Loss and accuracy over the epochs
fl.training_curves([vars(epoch) for epoch in run.history], best=run.best_epoch)

# %% [markdown]
# ## What does it confuse?
#
# An accuracy is an average. The classes are not equally hard. (Precision, recall and F1
# are explained in chapter 6.)

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

# %% What the hardest class is taken for
confusion = np.array(run.test.confusion)
hardest = classes.index(ordered[0].name)
others = np.argsort(
    -np.where(np.arange(len(classes)) == hardest, -1, confusion[hardest])
)[:3]
print(
    f"{classes[hardest]} is taken for "
    + ", ".join(f"{classes[k]} ({confusion[hardest, k]})" for k in others)
)

# %% The mistakes it was surest of
if run.mistakes:
    shown = run.mistakes[:10]
    fl.image_grid(
        [data.images.read(mistake.row) for mistake in shown],
        [f"{classes[m.label]}\nread as {classes[m.predicted]}" for m in shown],
    )

# %% [markdown]
# > **Then and now.** The notes stop at a heading here. In the course that they
# > followed, validation is a look at the test pictures after every epoch. Whoever
# > chooses the number of epochs, the rate or the network by what the test pictures say
# > has used them up: chapter 6 shows it with models that know nothing.

# %% [markdown]
# ## Exercises
#
# **1.** How few pictures are enough? Train on 100, 300, 1,000 and 10,000 (as far as you
# have them) and draw validation accuracy over the number.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
counts = [count for count in (100, 300, 1000, 10_000) if count <= len(train_images)]
everything = train_images, train_labels
curve = []
for count in counts:
    train_images, train_labels = everything[0][:count], everything[1][:count]
    network = new_network()
    optimizer = optim.Adam(network.parameters(), lr=1e-3)
    for epoch in range(max(1, 64 * 150 // count)):  # about as many steps for each
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
# matrix: how does the accuracy change, without any new training?

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
# **3.** Is a larger network better? Train with `fl.Recipe(model="mlp", hidden=(64,))`
# and with `hidden=(512, 512)`. Compare validation accuracy (`run.valid`), not test
# accuracy. Why?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
small = fl.train(data, fl.Recipe(model="mlp", hidden=(64,), epochs=3))
large = fl.train(data, fl.Recipe(model="mlp", hidden=(512, 512), epochs=3))
print(f"64: {small.valid.accuracy}\n512, 512: {large.valid.accuracy}")
# You are choosing. What chooses cannot also judge: the test part has no say.
assert small.valid.n == large.valid.n
