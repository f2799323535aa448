# %% [markdown]
# # 3. Neural networks
#
# **By the end of this chapter**, you can load labeled pictures in batches and look at
# them, compute the forward pass of a whole batch by hand with a softmax that does not
# overflow, write the same network as a class and as a `Sequential`, read, count, and
# set its weights, and show its answer for a picture.
#
# The data is MNIST: 70,000 handwritten digits of 28 x 28 pixels. To download it once
# (12 MB), run `fl.load_data("mnist")`. If it is not on this machine, the chapter uses
# the 1,797 smaller digits that come with scikit-learn, and all the code below works
# with either.

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
    print("to download mnist once (12 MB): fl.load_data('mnist')")
    data = fl.load_data("digits")

print(
    f"{len(data):,} pictures of {len(data.classes)} classes: {', '.join(data.classes)}"
)

# %% [markdown]
# PyTorch divides this work between two classes. A `Dataset` returns one picture and its
# label, given a number. Training uses several pictures at a time, a **batch**, stacked
# along a new first axis: `[B, C, H, W]` for pictures with C channels. A `DataLoader`
# makes the batches, in a new random order every epoch. An **epoch** is one pass through
# all pictures.
#
# Networks work best with numbers around zero, so we normalize the pictures: 0..255
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
# torchvision has classes for this too, such as `datasets.MNIST(root, train=True,
# download=True, transform=...)`, which prepare each picture with a chain of transforms.
# Here is the chain that does the same as `LabeledImages`. Older code writes it with
# `transforms`; the second version, `v2`, is the one to use.

# %% torchvision's transforms do the same
from torchvision import transforms
from torchvision.transforms import v2

older = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
)
newer = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5,), (0.5,))]
)
for transform in (older, newer):
    assert torch.allclose(
        transform(data.images.read(0)), LabeledImages(data)[0][0], atol=1e-6
    )

# %% [markdown]
# ## Looking at pictures
#
# Always look at the pictures before you train. `imshow` takes a tensor or an array,
# normalized or not.

# %% One picture
# Figure: a handwritten digit in white on black.
fl.imshow(images[1], title=f"a {data.classes[labels[1]]}")

# %% Twelve more
# Figure: twelve handwritten digits in a grid, each below its label.
fl.image_grid(list(images[:12]), [data.classes[label] for label in labels[:12]])

# %% matplotlib alone does it too
# Figure: the same handwritten digit as above, drawn by matplotlib.
import matplotlib.pyplot as plt

plt.figure(figsize=(2, 2))
# for matplotlib, a gray picture has no channel axis
plt.imshow(images[1].numpy().squeeze(), cmap="Grays_r")
plt.axis("off")

# %% [markdown]
# ## Sigmoid and softmax by hand
#
# A network computes one number for each class. These numbers are called **logits** and
# have the shape `[B, K]` for K classes. They can be any numbers, and the class with the
# highest one is the answer. The softmax turns logits into probabilities: positive
# numbers that sum to 1 for each picture.


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
# The number e¹⁰⁰ is too large for a float32: it becomes infinity, and infinity divided
# by infinity is not a number. But the softmax does not change when you subtract the
# same number from all logits of a row. Subtract the largest one: then the largest term
# is e⁰ = 1, and nothing can overflow.


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
# `dim=1` means that each *row* sums to 1: the classes of one picture. With `dim=0`,
# each *column* would sum to 1, across the pictures of the batch, and you would get no
# error.

# %% [markdown]
# ## A forward pass by hand
#
# Flatten each picture into a row, and pass the rows through two layers. The first layer
# is a matrix product, a bias, and the sigmoid. The second is a matrix product, a bias,
# and the softmax.

# %% The forward pass of a batch
# [64, 1, H, W] to [64, H * W]; PyTorch works out the -1
inputs = images.view(images.shape[0], -1)

n_input = inputs.shape[1]
n_hidden = 256
n_output = len(data.classes)

W1 = torch.randn((n_input, n_hidden)) / n_input**0.5
W2 = torch.randn((n_hidden, n_output)) / n_hidden**0.5
B1 = torch.zeros(n_hidden)  # one bias per unit, not one per picture
B2 = torch.zeros(n_output)

# [64, n_input] · [n_input, 256] = [64, 256]
a_1 = sigmoid(torch.matmul(inputs, W1) + B1)
probabilities = softmax(torch.matmul(a_1, W2) + B2)  # [64, 256] · [256, 10] = [64, 10]

assert probabilities.shape == (64, n_output)
assert torch.allclose(probabilities.sum(dim=1), torch.ones(64))

# %% [markdown]
# Why divide the weights by the square root of the number of inputs? A sum of `n` random
# products grows like √n. Without the division, the sums get so large that many sigmoids
# are stuck near 0 or 1, where the slope is too small to learn from.

# %% Without scaling, many units are stuck
stuck = sigmoid(inputs @ torch.randn((n_input, n_hidden)))
fraction, scaled = (((a < 0.01) | (a > 0.99)).float().mean() for a in (stuck, a_1))
print(f"units that are stuck: {fraction:.0%} without scaling, {scaled:.0%} with it")
assert fraction > 0.25 > 10 * scaled

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
# nested. The **optimizer** of chapter 4 changes them. Call `super().__init__()` first,
# or PyTorch will not accept your layers.
#
# How many layers do you need, and how wide should they be? A network with more or wider
# layers can do more, but it also memorizes more easily, so you choose with validation
# data (chapters 5 and 6). Only the two ends are fixed: the pictures decide the number
# of inputs, and the classes decide the number of outputs.
#
# Let the network end in logits, without a softmax: the usual loss takes logits (chapter
# 4), and you can apply the softmax where you show an answer. And write `model(images)`,
# not `model.forward(images)`: only the first also runs *hooks*, functions that tools
# attach to a layer.


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
# ## Sigmoid and ReLU
#
# Between the layers there is a ReLU, the rectified linear unit, `max(0, x)`. It is
# cheap to compute, and its slope is 1 for every positive input, however large. The
# slope of the sigmoid is at most 1/4 and soon nearly zero, and in a network with many
# layers, these small slopes are multiplied.

# %% Sigmoid, ReLU, and their slopes
# Figure: two panels. On the left, the sigmoid rises from 0 to 1, and ReLU is 0 for
# negative inputs and then rises as a straight line. On the right are their slopes: a
# low bump for the sigmoid, and a step from 0 to 1 for ReLU.
x = torch.linspace(-6, 6, 601, requires_grad=True)
fig, (values, slopes) = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
for name, function in (("sigmoid", torch.sigmoid), ("ReLU", functional.relu)):
    y = function(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    values.plot(x.detach(), y.detach().clamp(max=2), label=name)
    slopes.plot(x.detach(), slope, label=name)
    print(f"{name}: largest slope {slope.max():.2f}, slope at 6 {slope[-1]:.4f}")
values.set(title="value", xlabel="x", ylim=(-0.1, 1.6))
slopes.set(title="slope", xlabel="x")
values.legend(frameon=False)

assert torch.autograd.grad(torch.sigmoid(x).sum(), x)[0].max() <= 0.25
assert slope[-1] == 1

# %% A linear layer is a product and a sum
layer = model.fc1
assert torch.allclose(layer(inputs), inputs @ layer.weight.T + layer.bias, atol=1e-5)

# %% [markdown]
# Why is anything needed between the layers? Because two linear layers with nothing
# between them amount to a single one:

# %% Two linear layers are one
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
# When you change a weight in place, autograd must not record it as part of a
# computation. Do it under `torch.no_grad()`; otherwise PyTorch refuses.

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
# Older code writes `model.fc1.bias.data.fill_(0)` instead. Avoid that: `.data` changes
# a tensor without telling autograd. If the old value was needed for a gradient, that
# gradient is wrong, and you get no error. Under `torch.no_grad()` the change is
# noticed, and a later `backward` that needs the old value raises an error:

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
# If each layer simply follows the one before, you do not need a class. An `OrderedDict`
# gives the layers names.

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
# Put layers that you make in a loop into an `nn.ModuleList`. In a plain Python list,
# `parameters()` would not find them, and they would never learn. The last layer, which
# turns features into logits, is called the **head**.


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
# firstlight builds this network for any list of hidden layers, with the same names, and
# with dropout (chapter 6) after each of them:

# %% The library's network
network = fl.Classifier(
    architecture={"name": "mlp", "hidden": (128, 64)},
    classes=data.classes,
    input_size=tuple(images.shape[1:]),
).network
assert network.fc1.weight.shape == model.fc1.weight.shape
assert sum(w.numel() for w in network.parameters()) == sum(
    w.numel() for w in model.parameters()
)

# a state dict holds all weights by name (chapter 7), and the names match
network.load_state_dict(model.state_dict())
# `eval` turns dropout off (chapter 6)
assert torch.equal(network.eval()(images), model(images))

# %% [markdown]
# ## Its answer for a picture
#
# An untrained network has no preference: it gives every digit a probability of about
# one in ten. In chapter 4, we train it.

# %% A picture with its class probabilities
# Figure: a handwritten digit, and a bar for the probability of each of the ten digits.
# All bars are about equally long.
with torch.no_grad():
    probabilities = softmax(model(images))
fl.view_classify(images[0], probabilities[0], data.classes, label=int(labels[0]))

# it has not learned anything yet
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
# **3.** Show that a network's answer for a picture does not depend on the other
# pictures in the batch. (In chapter 6 you will meet a kind of layer for which it does:
# batch normalization, until you call `eval()`.)

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
with torch.no_grad():
    alone, together = model(images[:1]), model(images)[:1]
assert torch.allclose(alone, together, atol=1e-5)
