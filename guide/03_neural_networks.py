# %% [markdown]
# # 3. Neural networks
#
# **When you are through**, you can load labeled pictures in batches and look at them,
# compute the forward pass of a whole batch by hand with a softmax that does not
# overflow, write the same network as a class and as a `Sequential`, read, count, and
# set its weights, and show its answer for a picture.
#
# The data is MNIST, 70,000 handwritten digits of 28 x 28 pixels, if it is on this
# machine (`FIRSTLIGHT_DATA` names the folder). Otherwise it is the 1,797 smaller digits
# that come with scikit-learn. All the code below works with either.

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
# PyTorch's own approach has two parts. A `Dataset` returns one picture and its label,
# given a number. Training uses several pictures at a time, a **batch**, stacked along a
# new first axis: `[B, C, H, W]` for pictures with C channels. One pass through all of
# them is an **epoch**. A `DataLoader` makes the batches, in a new random order every
# epoch.
#
# Networks work best with numbers around zero, so pictures are normalized: 0..255
# becomes 0..1, and then, with mean 0.5 and standard deviation 0.5, -1..1.

# %% A dataset and its loader
from torch.utils.data import DataLoader, Dataset


class LabeledImages(Dataset):
    """Labeled pictures, normalized to -1..1."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, row):
        pixels = torch.tensor(self.samples.images.read(row))  # uint8 [H, W, C]
        image = pixels.permute(2, 0, 1).float() / 255  # float [C, H, W] in 0..1
        return (image - 0.5) / 0.5, int(self.samples.labels[row])


trainloader = DataLoader(LabeledImages(data), batch_size=64, shuffle=True)

images, labels = next(iter(trainloader))
print(type(images).__name__, images.shape, images.dtype, labels.shape, labels.dtype)
assert images.shape[:2] == (64, 1) and labels.shape == (64,)
assert images.min() >= -1 and images.max() <= 1

# %% [markdown]
# > **Then and now.** `dataiter.next()` is gone; write `next(dataiter)`. You also no
# > longer need the workaround with `six.moves` that once helped when a download was
# > refused. torchvision's classes do what `LabeledImages` does, with
# > `datasets.MNIST(root, train=True, download=True, transform=...)` and a chain of
# > transforms. Here is that chain on one picture, first as the notes have it and then
# > in torchvision's second version, which is the one to use:

# %% torchvision's transforms do the same
from torchvision import transforms
from torchvision.transforms import v2

then = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
now = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5,), (0.5,))]
)
for transform in (then, now):
    assert torch.allclose(
        transform(data.images.read(0)), LabeledImages(data)[0][0], atol=1e-6
    )

# %% [markdown]
# ## Looking at pictures
#
# Always look at the pictures before you train. `imshow` takes a tensor, an array, or a
# normalized picture.

# %% One picture, and twelve more
fl.imshow(images[1], title=f"a {data.classes[labels[1]]}")
fl.image_grid(list(images[:12]), [data.classes[label] for label in labels[:12]])

# %% matplotlib alone does it too
import matplotlib.pyplot as plt

plt.figure(figsize=(2, 2))
# matplotlib wants a gray picture without a channel axis
plt.imshow(images[1].numpy().squeeze(), cmap="Grays_r")
plt.axis("off")

# %% [markdown]
# ## Sigmoid and softmax by hand
#
# A network ends in one number per class, its **logits**, `[B, K]` for K classes: they
# can be any numbers, and the highest one is the answer. The softmax turns them into
# probabilities: positive numbers that sum to 1 over the classes of each picture.


# %% Sigmoid by hand
def sigmoid(x):
    """Map any number to 0..1."""
    return 1.0 / (1.0 + torch.exp(-x))


x = torch.linspace(-5, 5, 11)
assert torch.allclose(sigmoid(x), torch.sigmoid(x))


# %% The obvious way to write softmax
def naive_softmax(x):
    """Turn logits [B, K] into probabilities [B, K]."""
    e = torch.exp(x)
    # [B, K] / [B, 1]: each row is divided by its own sum
    return e / torch.sum(e, dim=1).view(x.shape[0], -1)


logits = torch.tensor([[1.0, 2.0, 3.0]])
assert torch.allclose(naive_softmax(logits).sum(dim=1), torch.ones(1))

overflowing = naive_softmax(torch.tensor([[100.0, 0.0, 0.0]]))
print("naive softmax of (100, 0, 0):", overflowing)
assert overflowing.isnan().any()

# %% [markdown]
# > **Then and now.** e¹⁰⁰ does not fit into a float32: it becomes infinity, and
# > infinity divided by infinity is not a number. Softmax does not change when you
# > subtract the same number from all logits of a row, so subtract the largest: then the
# > largest term is e⁰ = 1, and nothing can overflow.


# %% Softmax that does not overflow
def softmax(x):
    """Turn logits [B, K] of any size into probabilities [B, K]."""
    e = torch.exp(x - x.max(dim=1, keepdim=True).values)
    return e / e.sum(dim=1, keepdim=True)


assert torch.allclose(softmax(logits), naive_softmax(logits))
assert torch.allclose(
    softmax(torch.tensor([[100.0, 0.0, 0.0]])), torch.tensor([[1.0, 0.0, 0.0]])
)
x = 50 * torch.randn(64, 10)
# PyTorch's own softmax does the same
assert torch.allclose(softmax(x), functional.softmax(x, dim=1))

# %% [markdown]
# `dim=1` means over the classes. With `dim=0`, every *column* would sum to 1, over the
# pictures of the batch, and you would get no error.

# %% [markdown]
# ## A forward pass by hand
#
# Flatten each picture into a row and pass the rows through two layers. The first layer
# is a matrix product, a bias, and the sigmoid; the second is a matrix product, a bias,
# and the softmax.

# %% The forward pass of a batch
# [64, 1, H, W] to [64, H * W]; PyTorch works out the -1
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
# Why divide the weights by the square root of the number of inputs? A sum of `n` random
# products grows like √n. Without the division, the sums are so large that every sigmoid
# is stuck near 0 or 1, where its slope is too small to learn from.

# %% Without scaling, many units are stuck
stuck = sigmoid(inputs @ torch.randn((n_input, n_hidden)))
fraction, scaled = (((a < 0.01) | (a > 0.99)).float().mean() for a in (stuck, a_1))
print(f"units that are stuck: {fraction:.0%} without scaling, {scaled:.0%} with it")
assert fraction > 0.25 > 10 * scaled

# %% [markdown]
# > **Then and now.** The notes have `B1 = torch.randn((64, n_hidden))`, one bias per
# > *picture* of the batch: see chapter 2. They also take weights straight from `randn`,
# > and as you just saw, those make units get stuck.

# %% [markdown]
# ## A network as a class
#
# `nn.Module` holds the weights, passes them to the optimizer, moves them between
# devices, and saves them. In `__init__` you list the layers, and in `forward` you
# describe how a batch goes through them. `nn.Linear(i, o)` holds a weight `[o, i]` and
# a bias `[o]`, and computes `x @ weight.T + bias`.
#
# Weights and biases are **parameters**: tensors that require a gradient. `nn.Linear`
# creates them that way. `model.parameters()` lists them all, however deeply they are
# nested; the **optimizer** of chapter 4 is what changes them. Call `super().__init__()`
# first, or PyTorch will not accept your layers.
#
# How many layers do you need, and how wide? More and wider layers can do more, but they
# also memorize more easily: this is a choice that you make with validation data
# (chapters 5 and 6). Only the two ends are fixed, by the pictures and by the classes.
#
# Between the layers there is a ReLU, the rectified linear unit, `max(0, x)`: it is
# cheap, and its slope is 1 wherever it is not 0. With nothing in between, two linear
# layers would amount to one.


# %% The network as a class
class Network(nn.Module):
    """Fully connected: pixels to 128 to 64 units to one logit per class."""

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
# > **Then and now.** The notes' network ends in a softmax. Let yours end in logits:
# > that is what the usual loss needs (chapter 4), and you can apply the softmax where
# > you display an answer. The notes also say that a linear layer holds `W(input,
# > output)` and `B(1, output)`; the shapes are actually `[output, input]` and
# > `[output]`. Much code writes `F.relu`, with `import torch.nn.functional as F`;
# > `nn.ReLU()` is the same thing as a layer. Finally, call `model(images)`, never
# > `model.forward(images)`: only the call also runs *hooks*, functions that tools
# > attach to a layer.

# %% A linear layer is a product and a sum
layer = model.fc1
assert torch.allclose(layer(inputs), inputs @ layer.weight.T + layer.bias, atol=1e-5)

# %% Two linear layers with nothing between them are one
one, two = nn.Linear(5, 4), nn.Linear(4, 3)
together = nn.Linear(5, 3)
with torch.no_grad():
    together.weight.copy_(two.weight @ one.weight)
    together.bias.copy_(two.weight @ one.bias + two.bias)
x = torch.randn(8, 5)
assert torch.allclose(two(one(x)), together(x), atol=1e-5)

# %% [markdown]
# ## Reading and setting weights
#
# Changing a weight in place must not be recorded as part of a computation, so do it
# under `torch.no_grad()`; without it, PyTorch refuses.

# %% Weights and biases
print(
    "fc1.weight", tuple(model.fc1.weight.shape), "fc1.bias", tuple(model.fc1.bias.shape)
)

with torch.no_grad():
    model.fc1.bias.fill_(0)
    model.fc1.weight.normal_(std=0.01)

assert model.fc1.bias.abs().max() == 0
assert abs(model.fc1.weight.std().item() - 0.01) < 0.001

# torch.nn.init has the usual ways to initialize weights
nn.init.kaiming_uniform_(model.fc2.weight, nonlinearity="relu")
nn.init.zeros_(model.fc2.bias)

# %% [markdown]
# > **Then and now.** The notes write `model.fc1.bias.data.fill_(0)`. `.data` changes a
# > tensor without telling autograd: if the old value was needed for a gradient, that
# > gradient is wrong, and you get no error. Under `torch.no_grad()` the change is
# > counted, and a later `backward` that needs the old value raises an error:

# %% .data hides a mistake that no_grad reports
w = torch.tensor([1.0, 2.0], requires_grad=True)
y = (w * w).sum()  # its slope is 2 w, so backward needs the value of w
w.data.fill_(10)
y.backward()
print("the slope at (1, 2) is (2, 4); after .data we get", w.grad.tolist())
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
# ## The same network as a Sequential
#
# If one layer simply follows another, you do not need a class. With an `OrderedDict`,
# the layers have names.

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
            ("head", nn.Linear(hidden_sizes[1], output_size)),
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
# Layers that are made in a loop go into an `nn.ModuleList`: in a plain Python list,
# `parameters()` would not find them, and they would never learn. The last layer, from
# the features to the logits, is called the **head**.


# %% A class for any hidden layers
class MLP(nn.Module):
    """Fully connected, with any number of hidden layers."""

    def __init__(self, n_input, hidden, n_output):
        super().__init__()
        sizes = [n_input, *hidden]
        self.hidden = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.head = nn.Linear(sizes[-1], n_output)

    def forward(self, x):
        """Map pictures [B, C, H, W] to logits [B, K]."""
        x = torch.flatten(x, start_dim=1)
        for layer in self.hidden:
            x = functional.relu(layer(x))
        return self.head(x)


assert MLP(n_input, [], n_output)(images).shape == (64, n_output)
# one weight and one bias for each of the four layers
assert len(list(MLP(n_input, [30, 20, 10], n_output).parameters())) == 8


# %% A plain list hides its layers
class HiddenLayers(nn.Module):
    """The same idea with a plain list."""

    def __init__(self):
        super().__init__()
        self.hidden = [nn.Linear(8, 8), nn.Linear(8, 8)]


assert len(list(HiddenLayers().parameters())) == 0

# %% [markdown]
# ## The same with the library
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

# all weights by name (chapter 7): the names match, so we can copy them
network.load_state_dict(model.state_dict())
# `eval` turns dropout off (chapter 6)
assert torch.equal(network.eval()(images), model(images))

# %% [markdown]
# ## Its answer for a picture
#
# An untrained network has no preference: it gives every digit about one chance in ten.
# Chapter 4 changes that.

# %% A picture with its class probabilities
with torch.no_grad():
    probabilities = softmax(model(images))
fl.view_classify(images[0], probabilities[0], data.classes, label=int(labels[0]))

# it cannot be sure of anything yet
assert (probabilities.mean(dim=0) - 1 / n_output).abs().max() < 0.1

# %% [markdown]
# ## Exercises
#
# **1.** The layers of `MLP` above have no names. Write `named_mlp(n_input, hidden,
# n_output)`, which builds the same network as a `Sequential` with an `OrderedDict`, for
# any list of hidden sizes, and copy the weights of one network into the other.


# %% tags=["hide-cell"] jupyter={"source_hidden": true}
def named_mlp(n_input, hidden, n_output):
    """Return the network as a Sequential: fc1, relu1, fc2, relu2 ... head."""
    sizes = [n_input, *hidden]
    layers = OrderedDict(flatten=nn.Flatten())
    for number in range(1, len(sizes)):
        layers[f"fc{number}"] = nn.Linear(sizes[number - 1], sizes[number])
        layers[f"relu{number}"] = nn.ReLU()
    layers["head"] = nn.Linear(sizes[-1], n_output)
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
# **2.** Write `log_softmax(x)` so that it does not overflow and does not return -inf
# for `(0, -200)`. Why is `torch.log(softmax(x))` not good enough?


# %% tags=["hide-cell"] jupyter={"source_hidden": true}
def log_softmax(x):
    """Turn logits [B, K] into log-probabilities [B, K]."""
    x = x - x.max(dim=1, keepdim=True).values
    return x - torch.log(torch.exp(x).sum(dim=1, keepdim=True))


x = torch.tensor([[0.0, -200.0]])
# e^-200 is rounded to 0 before the logarithm is taken
assert torch.log(softmax(x)).isinf().any()
assert torch.allclose(log_softmax(x), functional.log_softmax(x, dim=1))
assert log_softmax(x)[0, 1] == -200

# %% [markdown]
# **3.** Show that a network's answer does not depend on which other pictures are in the
# batch. (In chapter 6 you will meet one kind of layer, batch normalization, for which
# it does until you call `eval()`.)

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
with torch.no_grad():
    alone, together = model(images[:1]), model(images)[:1]
assert torch.allclose(alone, together, atol=1e-5)
