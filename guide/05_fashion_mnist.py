# %% [markdown]
# # 5. Fashion-MNIST
#
# **By the end of this chapter**, you can take a harder set from start to finish: split
# the pictures, choose the network, the optimizer, and the learning rate, watch
# validation while you train, score once, and find out what the network confuses. You
# can also explain what a convolution does, and why it helps with pictures.
#
# Fashion-MNIST has the same size as MNIST, 28 x 28 gray pixels and ten classes, but it
# shows clothes, and a shirt and a coat look more alike than a 1 and a 7. To download it
# once (30 MB), run `fl.load_data("fashion-mnist")`. If it is not on this machine, the
# chapter uses the digits of scikit-learn, which are easier.

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
    print("to download fashion-mnist once (30 MB): fl.load_data('fashion-mnist')")
    data = fl.load_data("digits")
classes = data.classes

# %% One picture of each class
# Figure: a grid of ten pictures, one for each class, each below its name.
firsts = [int(np.flatnonzero(data.labels == label)[0]) for label in range(len(classes))]
fl.image_grid([data.images.read(row) for row in firsts], list(classes))

# %% [markdown]
# ## Split
#
# There are three splits, and each has one purpose. The network learns from the
# **train** split. You make choices with the **validation** split, as often as you like.
# You score the **test** split once, at the end, and report the result. Fashion-MNIST
# comes with a test split, which we keep. We use some of its training pictures for
# validation.

# %% Train, validation and test rows
rng = np.random.default_rng(0)
if data.splits is None:  # the digits
    rows = rng.permutation(len(data))
    test_rows, rest = rows[:300], rows[300:]
else:
    # a set that comes split says so for each picture: 0 is train, 2 is test
    test_rows = np.flatnonzero(data.splits == 2)
    rest = rng.permutation(np.flatnonzero(data.splits == 0))
n_valid = len(rest) // 6
# 20,000 to train on, which saves time; the library uses all of them
valid_rows, train_rows = rest[:n_valid], rest[n_valid:][:20_000]
print(
    f"{len(train_rows):,} to train on, {len(valid_rows):,} to choose by, "
    f"{len(test_rows):,} to test on"
)

assert not set(train_rows) & set(valid_rows) and not set(test_rows) & set(rest)

# %% [markdown]
# If the pictures fit into memory, you do not need a `DataLoader`. Put them all into one
# tensor, draw one random order per epoch, and take slices of it. Chapter 8 shows how
# much time this saves.

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
# These are the same as in chapter 4, with a slightly wider network. This time they are
# functions, so that we can use them again.


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
# well. It also follows a running mean of the recent gradients (*momentum*), so that
# noise cancels out. Start with this optimizer: with a learning rate near 0.001, it
# works well on almost everything.

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
assert abs(weights[0] - weights[1]) < 0.01  # steep or flat, the steps are equally long

# %% [markdown]
# ## The learning rate
#
# The learning rate is the most important number to get right. Try values that are a
# factor of ten apart, with one short run for each, and choose **by validation**. If the
# rate is too small, the network barely learns. If it is too large, the loss jumps
# around. There is plenty of room in between.

# %% Five learning rates, chosen by validation
# Figure: a curve of validation accuracy against the learning rate. It rises, is highest
# in the middle, and falls again.
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
# Train, score the validation split after every epoch, and keep the weights of the best
# epoch.

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
# scores once. It uses all training pictures, and AdamW with a learning rate that rises
# and then falls. It also makes sure that copies of a picture are never on both sides of
# a split.

# %% The whole run in one line
run = fl.train(data, model="mlp", epochs=5)
print(run.test)
print(
    f"by hand {by_hand:.3f}; by the library {run.test.accuracy}, "
    f"{run.seconds['total']:.0f} s in all"
)
# it does not have to win every time, but it must not be clearly worse
assert run.test.accuracy.high > by_hand

# %% Loss and accuracy over the epochs
# Figure: two panels with one point per epoch: the training and validation losses fall,
# and the validation accuracy rises. The best epoch is marked.
fl.training_curves([vars(epoch) for epoch in run.history], best=run.best_epoch)

# %% [markdown]
# ## What does it confuse?
#
# An accuracy is an average over all classes, and some classes are harder than others.
# (Chapter 6 explains precision, recall, and F1.)

# %% The confusion matrix
# Figure: a confusion matrix of the ten classes, one row per true class and one column
# per answer. Most pictures are on the diagonal; the darkest cells off it are the pairs
# that get mixed up.
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
# Figure: a grid of pictures that got the wrong answer with the highest probability,
# each below its true class and the class that the model gave it.
if run.mistakes:
    shown = run.mistakes[:10]
    fl.image_grid(
        [data.images.read(mistake.row) for mistake in shown],
        [f"{classes[m.label]}\ntaken for {classes[m.predicted]}" for m in shown],
    )

# %% [markdown]
# ## Convolution
#
# The networks so far treat a picture as a row of numbers. They do not know which pixels
# are neighbors, and what they learn about a sleeve in one place does not help them to
# see it in another. A **convolution** looks at small patches instead. It slides a
# **filter**, a small square of weights, over the picture, and at each place it
# multiplies the pixels under the filter by the weights and sums the products. The
# result is another picture, a *feature map*, which is bright wherever the patch looks
# like the filter.


# %% A convolution by hand
# Figure: three pictures side by side. First, a picture of the set. Then a filter of
# three by three weights that are negative on the left and positive on the right. Last,
# the feature map: the same outlines, bright at left edges and dark at right ones.
def convolve(picture, weights):
    """Slide weights [k, k] over a picture [H, W]; return [H - k + 1, W - k + 1]."""
    k = len(weights)
    height, width = (side - k + 1 for side in picture.shape)
    result = torch.empty(height, width)
    for y in range(height):
        for x in range(width):
            result[y, x] = (picture[y : y + k, x : x + k] * weights).sum()
    return result


picture = train_images[0, 0]
vertical_edges = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
edges = convolve(picture, vertical_edges)

theirs = functional.conv2d(picture[None, None], vertical_edges[None, None])[0, 0]
assert torch.allclose(edges, theirs, atol=1e-5)
fl.image_grid(
    [picture[None], vertical_edges[None], edges[None]],
    ["picture", "filter", "feature map"],
)

# %% [markdown]
# A convolutional layer has many filters. Each filter spans all channels of its input
# and makes one channel of the output, so `nn.Conv2d(1, 16, 3)` has 16 filters of 1 x 3
# x 3 weights. `padding=1` adds a border of zeros, so that the picture keeps its size.
#
# This has two advantages. The layer needs few weights, because it uses the same ones
# everywhere. And it treats all places alike: if the picture moves, the feature map
# moves with it.

# %% Few weights, the same ones everywhere
conv = nn.Conv2d(1, 16, 3, padding=1)
linear = nn.Linear(28 * 28, 16 * 28 * 28)
few, many = (sum(w.numel() for w in layer.parameters()) for layer in (conv, linear))
print(f"{few:,} weights; a linear layer with as many outputs has {many:,}")
assert few == 16 * (1 * 3 * 3) + 16

blob = torch.zeros(1, 1, 28, 28)
blob[:, :, 8:14, 8:12] = torch.rand(6, 4)
moved = blob.roll((5, 3), dims=(2, 3))  # five pixels down, and three to the right
# the answer moves in the same way
assert torch.allclose(conv(blob).roll((5, 3), dims=(2, 3)), conv(moved), atol=1e-6)

# %% [markdown]
# A convolutional network, **CNN**, stacks such layers, with a ReLU after each. In
# between, *pooling* halves the picture: `nn.MaxPool2d(2)` keeps the largest of each 2 x
# 2 numbers. The next layer then looks at a larger part of the picture, so that the
# first layers can find edges, and later ones sleeves and soles. At the end, the maximum
# over all places leaves one number per channel. These are the features, and a linear
# head turns them into logits.
#
# Compare it with the fully connected network, on the same few pictures and for the same
# number of epochs. (*Batch normalization*, which chapter 6 explains, keeps the numbers
# between layers near zero.)


# %% A convolutional network
def new_cnn(seed=0):
    """Return an untrained convolutional network; the same seed, the same weights."""

    def block(channels_in, channels_out):
        return (
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )

    torch.manual_seed(seed)
    return nn.Sequential(
        *block(1, 16),
        *block(16, 32),
        *block(32, 64),
        nn.AdaptiveMaxPool2d(1),  # the maximum over all places: [B, 64, 1, 1]
        nn.Flatten(),
        nn.Linear(64, len(classes)),
    )


everything = train_images, train_labels
train_images, train_labels = train_images[:4000], train_labels[:4000]
some_images, some_labels = valid_images[:2000], valid_labels[:2000]
kinds = {"fully connected": new_network(), "convolutional": new_cnn()}
scores = {}
for name, network in kinds.items():
    optimizer = optim.Adam(network.parameters(), lr=2e-3)
    for epoch in range(5):
        network.train()
        train_epoch(network, optimizer, epoch, batch_size=64)
    scores[name] = accuracy(network.eval(), some_images, some_labels)
    weights = sum(w.numel() for w in network.parameters())
    print(f"{name:15} {weights:>8,} weights, validation accuracy {scores[name]:.3f}")
train_images, train_labels = everything

# fewer weights, and at least as good
assert scores["convolutional"] > scores["fully connected"] - 0.01

# %% What the first layer has learned
# Figure: the sixteen filters of the first layer, each a square of three by three
# pixels. Some are bright on one side and dark on the other: they find edges.
fl.image_grid(list(kinds["convolutional"][0].weight.detach()), columns=8)

# %% [markdown]
# The library's line is `fl.train(data, model="cnn")`. Its network has the same parts,
# plus a first layer that is computed rather than learned, and shortcuts around some of
# the others. On all of Fashion-MNIST it takes minutes, so here it gets the 4,000
# pictures from above and a narrow network.

# %% The same with the library
small = (stack[train_rows[:4000]], np.array(classes)[data.labels[train_rows[:4000]]])
cnn_run = fl.train(small, model="cnn", width=8, epochs=8, score_test=False)
print(f"{cnn_run.valid.accuracy} on validation, {cnn_run.seconds['train']:.0f} s")
assert cnn_run.valid.accuracy.low > 0.5  # guessing is right one time in ten

# %% [markdown]
# ## Exercises
#
# **1.** How few pictures are enough? Train on 100, 300, 1,000, and 10,000 pictures (or
# as many as you have), and plot the validation accuracy against that number.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
# Figure: a curve of validation accuracy against the number of training pictures. It
# rises steeply at first, and then more slowly.
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
# **2.** Which two classes are mixed up most often? Merge them in the confusion matrix.
# How does the accuracy change, without any new training?

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
# 512)`. Compare the validation accuracy (`run.valid`), not the test accuracy. Why?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
small = fl.train(data, model="mlp", hidden=(64,), epochs=3)
large = fl.train(data, model="mlp", hidden=(512, 512), epochs=3)
print(f"64: {small.valid.accuracy}\n512, 512: {large.valid.accuracy}")
# You are making a choice, so use validation; the test split is for the final score.
# Both answered the same pictures, so the difference is known better than either score:
print(fl.compare(small, large).headline)
assert small.valid.n == large.valid.n

# %% [markdown]
# **4.** Move the validation pictures by two pixels, down and to the right, and score
# both networks of the convolution section again. Which one loses less accuracy, and
# why?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
moved = some_images.roll((2, 2), dims=(2, 3))
losses = {}
for name, network in kinds.items():
    losses[name] = scores[name] - accuracy(network, moved, some_labels)
    print(f"{name:15} loses {losses[name]:.3f}")
# the same filters are used everywhere, and the last maximum is taken over all places
assert losses["convolutional"] < losses["fully connected"]
