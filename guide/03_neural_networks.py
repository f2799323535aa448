# %% [markdown]
# # 3. Neural networks
#
# **When you are through**, you can load labeled pictures in batches and look at them,
# compute a forward pass of a whole batch by hand with a softmax that does not overflow,
# write the same network as a class and as a `Sequential`, read, count and set its
# weights, and show what it thinks of a picture.
#
# The data are MNIST, 70,000 handwritten digits of 28 x 28 pixels, if they are on this
# machine (`FIRSTLIGHT_DATA` names the folder), else the 1,797 smaller digits that come
# with scikit-learn. All code below takes either.

# %% [markdown]
# ## The data

# %% Load the pictures
import torch
from torch import nn
from torch.nn import functional

import firstlight as fl

torch.manual_seed(7)

try:
    data = fl.load_data("mnist", download=False)
except fl.UserError as reason:
    print(f"{reason}\nso this chapter uses the digits of scikit-learn")
    data = fl.load_data("digits")

print(
    f"{len(data):,} pictures of {len(data.classes)} classes: {', '.join(data.classes)}"
)

# %% [markdown]
# PyTorch's own way has two parts. A `Dataset` gives one picture and its label by
# number. Training takes some pictures at a time, a **batch**, stacked along a new first
# axis: `[B, C, H, W]` for pictures of C channels. Going once through all of them is an
# **epoch**. A `DataLoader` makes the batches, in a new random order every epoch.
#
# Networks like numbers around zero, so a picture is normalized: 0..255 becomes 0..1,
# then, with mean 0.5 and standard deviation 0.5, -1..1.

# %% A dataset and its loader
from torch.utils.data import DataLoader, Dataset


class ImageSource(Dataset):
    """Labelled pictures, normalized to -1..1."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, row):
        pixels = torch.tensor(self.samples.images.read(row))  # uint8 [H, W, C]
        image = pixels.permute(2, 0, 1).float() / 255  # float [C, H, W] in 0..1
        return (image - 0.5) / 0.5, int(self.samples.labels[row])


trainloader = DataLoader(ImageSource(data), batch_size=64, shuffle=True)

images, labels = next(iter(trainloader))
print(type(images).__name__, images.shape, images.dtype, labels.shape, labels.dtype)
assert images.shape[:2] == (64, 1) and labels.shape == (64,)
assert images.min() >= -1 and images.max() <= 1

# %% [markdown]
# > **Then and now.** `dataiter.next()` is gone; it is `next(dataiter)`. Nor do you need
# > the detour over `six.moves` that once helped against a refused download.
# > torchvision's classes do what `Pictures` does, with `datasets.MNIST(root,
# > train=True, download=True, transform=...)` and a chain of transforms. Here is that
# > chain on one picture, as the notes have it and in torchvision's second version,
# > which is the one to use:

# %% torchvision's transforms do the same
from torchvision import transforms
from torchvision.transforms import v2

then = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
now = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5,), (0.5,))]
)
for transform in (then, now):
    assert torch.allclose(
        transform(data.images.read(0)), ImageSource(data)[0][0], atol=1e-6
    )

# %% [markdown]
# ## Looking at pictures
#
# Look before you train. Always. `imshow` takes a tensor, an array or a normalized
# picture.

# %% One picture, and some more
fl.imshow(images[1], title=f"a {data.classes[labels[1]]}")
fl.image_grid(list(images[:12]), [data.classes[label] for label in labels[:12]])

# %% matplotlib alone does it too
import matplotlib.pyplot as plt

plt.figure(figsize=(2, 2))
# NumPy's picture has no axis for a single channel
plt.imshow(images[1].numpy().squeeze(), cmap="Grays_r")
plt.axis("off")

# %% [markdown]
# ## Sigmoid and softmax by hand
#
# A network ends in one number a class, its **logits**, `[B, K]` for K classes: any
# numbers, the highest one is the answer. The softmax makes probabilities of them:
# positive, and summing to 1 over the classes of each picture.


# %% Sigmoid by hand
def sigmoid(x):
    """Map any number to 0..1."""
    return 1.0 / (1.0 + torch.exp(-x))


x = torch.linspace(-5, 5, 11)
assert torch.allclose(sigmoid(x), torch.sigmoid(x))


# %% Softmax as one writes it first
def naive_softmax(x):
    """Turn logits [B, K] into probabilities [B, K]."""
    e = torch.exp(x)
    # [B, K] / [B, 1]: each row by its own sum
    return e / torch.sum(e, dim=1).view(x.shape[0], -1)


logits = torch.tensor([[1.0, 2.0, 3.0]])
assert torch.allclose(naive_softmax(logits).sum(dim=1), torch.ones(1))

overflowing = naive_softmax(torch.tensor([[100.0, 0.0, 0.0]]))
print("softmax of (100, 0, 0), naively:", overflowing)
assert overflowing.isnan().any()

# %% [markdown]
# > **Then and now.** e¹⁰⁰ does not fit into a float32: it becomes infinite, and
# > infinity divided by infinity is not a number. Softmax does not change when the same
# > number is taken from all logits of a row, so take the largest: then the largest term
# > is e⁰ = 1, and nothing can overflow.


# %% Softmax that does not overflow
def softmax(x):
    """Turn logits [B, K] into probabilities [B, K], whatever their size."""
    e = torch.exp(x - x.max(dim=1, keepdim=True).values)
    return e / e.sum(dim=1, keepdim=True)


assert torch.allclose(softmax(logits), naive_softmax(logits))
assert torch.allclose(
    softmax(torch.tensor([[100.0, 0.0, 0.0]])), torch.tensor([[1.0, 0.0, 0.0]])
)
x = 50 * torch.randn(64, 10)
# PyTorch's does the same
assert torch.allclose(softmax(x), functional.softmax(x, dim=1))

# %% [markdown]
# `dim=1` says: over the classes. With `dim=0` every *column* would sum to 1, over the
# pictures of the batch, and nobody would complain.

# %% [markdown]
# ## A forward pass by hand
#
# Flatten each picture into a row, multiply, add, bend, multiply, add, softmax.

# %% The forward pass of a batch
# [64, 1, H, W] to [64, H * W]; -1: whatever that makes
inputs = images.view(images.shape[0], -1)

n_input = inputs.shape[1]
n_hidden = 256
n_output = len(data.classes)

W1 = torch.randn((n_input, n_hidden)) / n_input**0.5
W2 = torch.randn((n_hidden, n_output)) / n_hidden**0.5
B1 = torch.zeros(n_hidden)
B2 = torch.zeros(n_output)

# [64, n_input] · [n_input, 256] = [64, 256]
a_1 = sigmoid(torch.matmul(inputs, W1) + B1)
probabilities = softmax(torch.matmul(a_1, W2) + B2)  # [64, 256] · [256, 10] = [64, 10]

assert probabilities.shape == (64, n_output)
assert torch.allclose(probabilities.sum(dim=1), torch.ones(64))

# %% [markdown]
# Why divide the weights by the root of the number of inputs? A sum of `n` random
# products grows like √n. Without the division the sums are so large that every sigmoid
# is stuck at 0 or 1, where it has no slope to learn from.

# %% Without scaling, many units are stuck
stuck = sigmoid(inputs @ torch.randn((n_input, n_hidden)))
fraction, scaled = (((a < 0.01) | (a > 0.99)).float().mean() for a in (stuck, a_1))
print(f"units that are stuck: {fraction:.0%} without scaling, {scaled:.0%} with it")
assert fraction > 0.25 > 10 * scaled

# %% [markdown]
# > **Then and now.** The notes have `B1 = torch.randn((64, n_hidden))`, a bias for each
# > *picture* of the batch: see chapter 2. And weights straight from `randn`, which get
# > stuck, as you just saw.

# %% [markdown]
# ## A network as a class
#
# `nn.Module` keeps the weights, finds them for the optimizer, moves them between
# devices, and saves them. You say in `__init__` what it is made of and in `forward` how
# a batch goes through. `nn.Linear(i, o)` holds a weight `[o, i]` and a bias `[o]`, and
# computes `x @ weight.T + bias`.
#
# Weights and biases are **parameters**: tensors that require a gradient, made so by
# `nn.Linear`. `model.parameters()` lists them, however deep they sit; the **optimizer**
# of chapter 4 is what changes them. Call `super().__init__()` first, or PyTorch refuses
# your layers.
#
# How many layers, and how wide? More can do more, and learn by heart more easily: a
# choice that validation makes (chapters 5 and 6). Only the two ends are given, by the
# pictures and by the classes.
#
# Between layers stands ReLU, the rectified linear unit, `max(0, x)`: cheap, and with a
# slope of 1 wherever it is not 0. Without anything in between, two linear layers would
# be one.


# %% The network as a class
class Network(nn.Module):
    """Fully connected: pixels to 128 to 64 to one logit a class."""

    def __init__(self, n_input, n_output):
        super().__init__()
        self.fc1 = nn.Linear(n_input, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, n_output)

    def forward(self, x):
        """Map pictures [B, C, H, W] to logits [B, K]."""
        x = torch.flatten(x, start_dim=1)
        x = functional.relu(self.fc1(x))
        x = functional.relu(self.fc2(x))
        return self.fc3(x)


model = Network(n_input, n_output)
print(model)

logits = model(images)
assert logits.shape == (64, n_output)

# %% [markdown]
# > **Then and now.** The notes' network ends in a softmax. Let it end in logits: the
# > usual loss wants those (chapter 4), and you can take the softmax where you show
# > something. They also say that a linear layer holds `W(input, output)` and `B(1,
# > output)`: it is `[output, input]` and `[output]`. And much code writes `F.relu`,
# > with `import torch.nn.functional as F`; `nn.ReLU()` is the same as a layer. And call
# > `model(images)`, never `model.forward(images)`: only the call also runs *hooks*,
# > functions that tools attach to a layer.

# %% A linear layer is a product and a sum
layer = model.fc1
assert torch.allclose(layer(inputs), inputs @ layer.weight.T + layer.bias, atol=1e-5)

# %% Two linear layers without a bend are one
one, two = nn.Linear(5, 4), nn.Linear(4, 3)
together = nn.Linear(5, 3)
with torch.no_grad():
    together.weight.copy_(two.weight @ one.weight)
    together.bias.copy_(two.weight @ one.bias + two.bias)
x = torch.randn(8, 5)
assert torch.allclose(two(one(x)), together(x), atol=1e-5)

# %% [markdown]
# ## Looking into it, and setting weights
#
# Changing a weight in place is no part of any computation, so it is done under
# `torch.no_grad()`; without it PyTorch refuses.

# %% Weights and biases
print(
    "fc1.weight", tuple(model.fc1.weight.shape), "fc1.bias", tuple(model.fc1.bias.shape)
)

with torch.no_grad():
    model.fc1.bias.fill_(0)
    model.fc1.weight.normal_(std=0.01)

assert model.fc1.bias.abs().max() == 0
assert abs(model.fc1.weight.std().item() - 0.01) < 0.001

# torch.nn.init has the usual recipes
nn.init.kaiming_uniform_(model.fc2.weight, nonlinearity="relu")
nn.init.zeros_(model.fc2.bias)

# %% [markdown]
# > **Then and now.** The notes write `model.fc1.bias.data.fill_(0)`. `.data` changes a
# > tensor behind autograd's back: if the old value was needed for a gradient, that
# > gradient is wrong and nothing tells you. Under `torch.no_grad()` the change is
# > counted, and a later `backward` that needs the old value fails aloud:

# %% .data is silent where no_grad is not
w = torch.tensor([1.0, 2.0], requires_grad=True)
y = (w * w).sum()  # its slope is 2 w: the value of w is needed later
w.data.fill_(10)
y.backward()
print("the slope at (1, 2) is (2, 4); after .data it comes out as", w.grad.tolist())
assert w.grad.tolist() != [2, 4]

w = torch.tensor([1.0, 2.0], requires_grad=True)
y = (w * w).sum()
with torch.no_grad():
    w.fill_(10)
try:
    y.backward()
except RuntimeError as error:
    print("RuntimeError:", str(error).splitlines()[0][:90], "...")
else:
    raise AssertionError("autograd should have noticed")

# %% How many parameters
for name, weights in model.named_parameters():
    print(f"{name:12} {tuple(weights.shape)!s:12} {weights.numel():>9,}")
total = sum(weights.numel() for weights in model.parameters())
print(f"{total:,} parameters")
assert total == (n_input + 1) * 128 + (128 + 1) * 64 + (64 + 1) * n_output

# %% [markdown]
# ## The same as a Sequential
#
# Where one layer follows another, no class is needed. With an `OrderedDict`, layers
# have names.

# %% The network as a Sequential
from collections import OrderedDict

input_size, hidden_sizes, output_size = n_input, [128, 64], n_output

model = nn.Sequential(
    OrderedDict(
        [
            ("flatten", nn.Flatten()),
            ("fc1", nn.Linear(input_size, hidden_sizes[0])),
            ("relu1", nn.ReLU()),
            ("fc2", nn.Linear(hidden_sizes[0], hidden_sizes[1])),
            ("relu2", nn.ReLU()),
            ("output", nn.Linear(hidden_sizes[1], output_size)),
        ]
    )
)
print(model)
print(model.fc1)
assert model.fc1 is model[1]
assert model(images).shape == (64, n_output)

# %% [markdown]
# ## Any number of layers
#
# A network of fully connected layers is also called a *multilayer perceptron*, **MLP**.
# Layers that come from a loop go into an `nn.ModuleList`: in a plain Python list,
# `parameters()` would not find them, and they would never learn.


# %% A class for any hidden layers
class MLP(nn.Module):
    """Fully connected, with any number of hidden layers."""

    def __init__(self, n_input, hidden, n_output):
        super().__init__()
        sizes = [n_input, *hidden]
        self.hidden = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.output = nn.Linear(sizes[-1], n_output)

    def forward(self, x):
        """Map pictures [B, C, H, W] to logits [B, K]."""
        x = torch.flatten(x, start_dim=1)
        for layer in self.hidden:
            x = functional.relu(layer(x))
        return self.output(x)


assert MLP(n_input, [], n_output)(images).shape == (64, n_output)
# a weight and a bias for each of four layers
assert len(list(MLP(n_input, [30, 20, 10], n_output).parameters())) == 8


# %% A plain list hides its layers
class Forgetful(nn.Module):
    """As above, with a list."""

    def __init__(self):
        super().__init__()
        self.hidden = [nn.Linear(8, 8), nn.Linear(8, 8)]


assert len(list(Forgetful().parameters())) == 0

# %% [markdown]
# ## The library's line
#
# firstlight has a function that builds this network for any list of hidden layers, with
# the same names, and with dropout (chapter 6) in between:

# %% The library's network
from firstlight.models.networks import mlp

network = mlp(tuple(images.shape[1:]), n_output, hidden=(128, 64))
assert network.fc1.weight.shape == model.fc1.weight.shape
assert sum(w.numel() for w in network.parameters()) == sum(
    w.numel() for w in model.parameters()
)

# all weights by name (chapter 7): the names agree, so they can move
network.load_state_dict(model.state_dict())
# `eval` switches dropout off (chapter 6)
assert torch.equal(network.eval()(images), model(images))

# %% [markdown]
# ## What it thinks of a picture
#
# An untrained network has no opinion: about one in ten for every digit. Chapter 4
# changes that.

# %% A picture beside its class probabilities
from firstlight.delivery.plots import view_classify

with torch.no_grad():
    probabilities = softmax(model(images))
view_classify(images[0], probabilities[0], data.classes, label=int(labels[0]))

# nothing to be sure of yet
assert (probabilities.mean(dim=0) - 1 / n_output).abs().max() < 0.1

# %% [markdown]
# ## Exercises
#
# **1.** `MLP` above has no names for its layers. Write `named_mlp(n_input, hidden,
# n_output)`, which builds the same network as a `Sequential` with an `OrderedDict`, for
# any list of hidden sizes, and move the weights of one into the other.


# %% tags=["hide-cell"] jupyter={"source_hidden": true}
def named_mlp(n_input, hidden, n_output):
    """Give the network as a Sequential: fc1, relu1, fc2, relu2 ... output."""
    sizes = [n_input, *hidden]
    layers = OrderedDict(flatten=nn.Flatten())
    for number in range(1, len(sizes)):
        layers[f"fc{number}"] = nn.Linear(sizes[number - 1], sizes[number])
        layers[f"relu{number}"] = nn.ReLU()
    layers["output"] = nn.Linear(sizes[-1], n_output)
    return nn.Sequential(layers)


named, unnamed = (
    named_mlp(n_input, [30, 20], n_output),
    MLP(n_input, [30, 20], n_output),
)
with torch.no_grad():
    for mine, theirs in zip(unnamed.parameters(), named.parameters(), strict=True):
        mine.copy_(theirs)
assert torch.equal(named(images), unnamed(images))

# %% [markdown]
# **2.** Write `log_softmax(x)` so that it neither overflows nor returns -inf for `(0,
# -200)`. Why is `torch.log(softmax(x))` not good enough?


# %% tags=["hide-cell"] jupyter={"source_hidden": true}
def log_softmax(x):
    """Logits [B, K] to log-probabilities [B, K]."""
    x = x - x.max(dim=1, keepdim=True).values
    return x - torch.log(torch.exp(x).sum(dim=1, keepdim=True))


x = torch.tensor([[0.0, -200.0]])
# e^-200 is rounded to 0 before the logarithm sees it
assert torch.log(softmax(x)).isinf().any()
assert torch.allclose(log_softmax(x), functional.log_softmax(x, dim=1))
assert log_softmax(x)[0, 1] == -200

# %% [markdown]
# **3.** Show that a network's answer does not depend on which other pictures are in the
# batch. (In chapter 6 it will, for one kind of layer, batch normalization, until you
# call `eval()`.)

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
with torch.no_grad():
    alone, together = model(images[:1]), model(images)[:1]
assert torch.allclose(alone, together, atol=1e-5)
