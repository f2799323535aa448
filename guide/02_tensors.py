# %% [markdown]
# # 2. Tensors
#
# **By the end of this chapter**, you can make tensors, read and change their shapes,
# tell when that copies memory, multiply matrices, share memory with NumPy only when you
# mean to, choose a number type and a device, and compute the forward pass of a small
# network by hand.
#
# A tensor is an array of numbers of one type. A tensor without axes is a single number,
# one axis makes a vector, and two axes make a matrix. A *batch* of pictures is a stack
# of them and has four axes: picture, channel, height, and width, written `[B, C, H,
# W]`. If you know NumPy's `ndarray`, you already know most of this.
#
# A vector is neither a row nor a column until you give it a second axis: `[5]`, `[5,
# 1]`, and `[1, 5]` are three different shapes, and broadcasting (see below) treats them
# differently.

# %% [markdown]
# ## Making tensors

# %% Tensors from sizes, from other tensors, and at random
import numpy as np
import torch

torch.manual_seed(7)

x = torch.randn((5, 1))  # normal random numbers; the shape is a tuple ...
b = torch.ones(1, 1)  # ... or several numbers
w1 = torch.randn_like(x)  # like `x`: the same shape, number type, and device
w2 = torch.randn(x.size())  # only the same shape
zeros, count = torch.zeros(2, 3), torch.arange(6)
# from Python lists; this always copies
listed = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

print(x.shape, w1.shape, listed.dtype, count.dtype)
assert w1.shape == w2.shape == x.shape

# %% [markdown]
# `randn_like` takes a *tensor* to imitate. A size is not a tensor:

# %% randn_like takes a tensor
try:
    torch.randn_like(x.size())
except TypeError as error:
    print("TypeError:", str(error).splitlines()[0])
else:
    raise AssertionError("this should have failed")

# %% [markdown]
# The same seed gives the same numbers, as long as the device and the version of PyTorch
# stay the same. The seed that we set above belongs to the whole program, so any other
# code that draws a random number changes the numbers that you get next. Where that
# matters, use a generator of your own.

# %% Your own generator
rng = torch.Generator().manual_seed(7)
first = torch.rand(3, generator=rng)
torch.rand(100)  # other code draws numbers, and nothing changes for us
again = torch.Generator().manual_seed(7)
assert torch.equal(first, torch.rand(3, generator=again))

# %% [markdown]
# ## Computing with tensors
#
# Arithmetic works element by element, as in NumPy.

# %% Sums, and the sigmoid
z = torch.sum(w1 * x) + b
a = 1 / (1 + torch.exp(-z))

print("z =", z, " sigmoid(z) =", a)
assert torch.allclose(a, torch.sigmoid(z))

# %% [markdown]
# In a matrix product, the inner sizes must match: `[1, 5]` times `[5, 1]`. Both `w1`
# and `x` are `[5, 1]`, so you have to turn one of them into a row first.

# %% Matrix product
z = torch.matmul(w1.view(1, 5), x) + b
# `@` is short for matmul, and `.T` transposes a matrix
assert torch.allclose(z, (w1.T @ x) + b)
assert torch.allclose(z, torch.sum(w1 * x) + b)

try:
    torch.matmul(w1, x)
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# ## Shapes and memory
#
# A tensor is a block of numbers and a way to read them: a shape and *strides*. The
# stride of an axis is how many numbers you skip to get to the next entry along that
# axis (PyTorch counts numbers, NumPy counts bytes). A tensor is *contiguous* if it
# reads the numbers in the order in which they are stored. `data_ptr` returns the
# address of the first number. Three methods change the shape, and they differ in what
# happens to the block:
#
# | method | result | copies |
# |---|---|---|
# | `x.view(shape)` | the same numbers in another shape | never; may fail |
# | `x.reshape(shape)` | the same numbers in another shape | if a view would fail |
# | `x.resize_(shape)` | `x` itself, changed | to grow; may lose or invent numbers |
#
# Use `view` when you want the numbers to be shared and `reshape` when it does not
# matter. Avoid `resize_`.

# %% view shares
x = torch.arange(6.0)
v = x.view(2, 3)
v[0, 0] = 100
assert x[0] == 100  # one block of numbers, read in two ways
assert v.data_ptr() == x.data_ptr() and v.stride() == (3, 1)
assert x.view(3, -1).shape == (3, 2)  # -1: whatever is left

# %% reshape copies where it must
turned = v.T  # [3, 2], read with jumps: still the same block
assert turned.data_ptr() == x.data_ptr() and not turned.is_contiguous()

flat = turned.reshape(6)  # no strides can read this order, so it is a copy
flat[0] = -1
assert x[0] == 100

try:
    turned.view(6)
except RuntimeError as error:
    print("RuntimeError:", error)

# %% resize_ loses numbers
x = torch.arange(6.0)
x.resize_(2, 2)
print(x)
assert x.numel() == 4  # two numbers are gone, without any warning

# %% [markdown]
# This is dangerous when you flatten a batch with fixed numbers. The last batch of a set
# is often smaller, and `resize_` fills the missing pictures with whatever is in memory.
# `images.view(len(images), -1)` works for a batch of any size.

# %% A batch that is too small
last = torch.rand(16, 1, 28, 28)
assert last.view(len(last), -1).shape == (16, 784)
# 64 pictures, though there were only 16
assert last.clone().resize_(64, 1, 784).shape[0] == 64

# %% [markdown]
# ## Slices
#
# Slicing works as in NumPy, and a slice is a view here too. Only negative steps are
# missing: use `flip` instead, which makes a copy.

# %% Slicing
x = torch.rand((3, 2))
y = torch.ones(x.size())
z = x + y

print("first row:", z[0], "\nwithout the first column:\n", z[:, 1:])
assert z[0].shape == (2,) and z[:, 1:].shape == (3, 1)

z[0] = 0  # writes into z
assert z[0].sum() == 0
assert z[z > 1].ndim == 1  # a mask picks elements, and always copies
assert torch.equal(z.flip(0)[0], z[-1])

# %% [markdown]
# ## In place
#
# An arithmetic method returns a new tensor. If its name ends in an underscore, it
# changes the tensor itself instead.

# %% In place
z = torch.ones(2)
z_new = z.add(1)
assert z.tolist() == [1, 1] and z_new.tolist() == [2, 2]

z.add_(1)
z.mul_(2)
assert z.tolist() == [4, 4]

alias = z
alias += 1  # also in place: `z` sees it
assert z.tolist() == [5, 5]
alias = alias + 1  # a new tensor: `z` does not
assert z.tolist() == [5, 5]

# %% [markdown]
# ## Broadcasting
#
# Shapes do not have to be equal: axes are matched starting from the last one, and an
# axis of length 1 is repeated, without a copy. That is how a bias of shape `[3]` is
# added to every row of a batch `[4, 3]`.

# %% Broadcasting
batch = torch.zeros(4, 3)
bias = torch.tensor([1.0, 2.0, 3.0])
assert torch.equal((batch + bias)[2], bias)

column = torch.arange(4.0)[:, None]  # None adds an axis: [4, 1]
assert (column + bias).shape == (4, 3)

# %% [markdown]
# Broadcasting is handy, but it also causes the most common silent mistake: you meant to
# combine two vectors element by element, but one of them has an extra axis, and the
# result is a matrix.

# %% The classic accident
predicted, wanted = torch.rand(5, 1), torch.rand(5)
accident = (predicted - wanted) ** 2
assert accident.shape == (5, 5)  # not 5 differences but 25
assert ((predicted[:, 0] - wanted) ** 2).shape == (5,)

# %% [markdown]
# ## NumPy and shared memory
#
# `torch.from_numpy` and `.numpy()` do not copy: the array and the tensor share one
# block of memory. To get a copy of your own, use `torch.tensor(array)` or `.clone()`.

# %% Shared memory
np.set_printoptions(precision=8)
torch.set_printoptions(precision=8)

a = np.random.default_rng(0).random((4, 3))
b = torch.from_numpy(a)
before = b[0, 0].item()
a[0, 0] = -1
print(f"changing the array changed the tensor from {before:.3f} to {b[0, 0].item():g}")
assert b[0, 0] == -1

b.mul_(10)  # and the other way around
assert a[0, 0] == -10
assert b.numpy() is not a and np.shares_memory(b.numpy(), a)

mine = torch.tensor(a)  # a copy
mine[0, 0] = 5
assert a[0, 0] == -10

# %% [markdown]
# ## Number types
#
# NumPy computes in float64 by default. PyTorch uses float32, which takes half the
# memory and is precise enough for training. Pictures are stored as uint8, from 0 to
# 255, and labels as int64.

# %% Number types
assert b.dtype == torch.float64 and torch.rand(1).dtype == torch.float32
pixels = torch.tensor([0, 100, 200], dtype=torch.uint8)
# 400 does not fit into 8 bits, and there is no error
assert (pixels + pixels).tolist() == [0, 200, 144]
assert (pixels.float() / 255).max() < 1

# two or three digits are enough for most layers, but not to sum thousands of numbers
half = torch.tensor(1 / 3).bfloat16()
print(f"a third in bfloat16: {half.item():.6f}")
assert abs(half.item() - 1 / 3) < 2**-9

# %% [markdown]
# ## Devices
#
# A tensor is stored in the memory of the processor (`cpu`) or of an accelerator
# (`cuda`, `mps`). Both operands of an operation must be on the same device. Choose the
# device once, and let the rest of the code use it:

# %% Devices
device = (
    torch.accelerator.current_accelerator()
    if torch.accelerator.is_available()
    else torch.device("cpu")
)
# made on the device, which is faster than making it here and moving it
x = torch.rand(2, 2, device=device)
w = torch.rand(2, 2).to(device)  # moved; copies only if it was somewhere else
assert (x @ w).device.type == device.type
print("computing on", device)

on_numpy = (x @ w).cpu().numpy()  # NumPy only works on the processor
assert on_numpy.shape == (2, 2)

# %% [markdown]
# ## A forward pass by hand
#
# A *layer* multiplies its input by a matrix of weights, adds a bias, and applies an
# **activation function**; here, that is the sigmoid. Without an activation function,
# the network could only learn straight lines. A network of such layers is called fully
# connected, and the numbers between its input and its output are its *hidden units*.
# This network has three features, two hidden units, and one output:
#
# ```
# features [1, 3] · W1 [3, 2] + B1 [2] → sigmoid → hidden [1, 2]
# hidden   [1, 2] · W2 [2, 1] + B2 [1] → sigmoid → output [1, 1]
# ```
#
# The weights here are `[inputs, outputs]`, so each row of a batch is multiplied from
# the left. Some textbooks use `[outputs, inputs]`, and so does `nn.Linear`, as chapter
# 3 shows. Some also treat the bias as one more column of the weights; here it is simply
# added.


# %% A forward pass with weights and biases
def activation(x):
    """Map any number to 0..1: the sigmoid."""
    return 1 / (1 + torch.exp(-x))


torch.manual_seed(7)
features = torch.randn((1, 3))

n_input = features.shape[1]
n_hidden = 2
n_output = 1

W1 = torch.randn(n_input, n_hidden)
W2 = torch.randn(n_hidden, n_output)
B1 = torch.randn(n_hidden)  # one bias per unit, for any batch size
B2 = torch.randn(n_output)

a_1 = activation(torch.matmul(features, W1) + B1)
a_2 = activation(torch.matmul(a_1, W2) + B2)

print("the network answers", a_2)
assert a_2.shape == (1, 1) and 0 < a_2.item() < 1

# %% The network, with its numbers tags=["hide-input"] jupyter={"source_hidden": true}
# Figure: the network as circles in three columns: three features, two hidden units, and
# one output, each with its value. Lines join every circle to all circles of the next
# column. A thick line is a large weight; blue is positive, and orange is negative.
import matplotlib.pyplot as plt

plt.figure(figsize=(6, 2.8), layout="constrained")
columns = [features[0], a_1[0], a_2[0]]
places = [
    [(x, (len(values) - 1) / 2 - i) for i in range(len(values))]
    for x, values in enumerate(columns)
]
for start, end, weights in zip(places, places[1:], (W1, W2), strict=False):
    for i, a in enumerate(start):
        for j, b in enumerate(end):
            weight = weights[i, j].item()
            color = "#0072b2" if weight > 0 else "#d55e00"
            plt.plot(*zip(a, b, strict=True), color=color, linewidth=2.5 * abs(weight))
            near = [0.68 * p + 0.32 * q for p, q in zip(a, b, strict=True)]
            label = {"fontsize": 8, "color": color, "ha": "center", "va": "center"}
            paper = {"facecolor": "#ffffff", "edgecolor": "none", "pad": 1}
            plt.text(*near, f"{weight:.1f}", bbox=paper, **label)
for x, (name, values) in enumerate(
    zip(("features", "hidden units", "output"), columns, strict=True)
):
    plt.text(x, 1.5, name, ha="center")
    for place, value in zip(places[x], values.tolist(), strict=True):
        plt.plot(*place, "o", markersize=32, color="#ffffff", markeredgecolor="#808080")
        plt.text(*place, f"{value:.2f}", ha="center", va="center", fontsize=9)
plt.axis((-0.3, 2.3, -1.4, 1.8))
plt.axis("off")

# %% [markdown]
# A bias belongs to a unit, not to a picture, so `B1` has the shape `[units]`, and
# broadcasting adds it to every row. With biases of shape `[batch, units]`, the network
# would learn where in the batch a picture was, and it could not take a batch of another
# size.

# %% One bias per unit works for any batch
many = torch.randn((64, 3))
assert activation(activation(many @ W1 + B1) @ W2 + B2).shape == (64, 1)

# %% [markdown]
# ## Exercises
#
# **1.** A batch of pictures is uint8 `[B, H, W, C]`. Turn it into float `[B, C, H, W]`
# in which each channel has mean zero and variance one over the whole batch. Do not use
# a loop.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
images = torch.randint(0, 256, (16, 8, 8, 3), dtype=torch.uint8)
# permute is a view: it only changes the order in which numbers are read
x = images.permute(0, 3, 1, 2).float() / 255
mean, std = x.mean(dim=(0, 2, 3), keepdim=True), x.std(dim=(0, 2, 3), keepdim=True)
x = (x - mean) / std

assert x.shape == (16, 3, 8, 8)
assert x.mean(dim=(0, 2, 3)).abs().max() < 1e-5
assert (x.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-5

# %% [markdown]
# **2.** Use broadcasting to compute all distances between 5 points and 7 other points
# in the plane, and check them against `torch.cdist`.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
here, there = torch.rand(5, 2), torch.rand(7, 2)
distances = ((here[:, None, :] - there[None, :, :]) ** 2).sum(dim=2).sqrt()

assert distances.shape == (5, 7)
assert torch.allclose(distances, torch.cdist(here, there), atol=1e-5)

# %% [markdown]
# **3.** Someone normalizes a NumPy array with
# `torch.from_numpy(array).sub_(array.mean())` and wonders why the array has changed.
# Show that it happens, and fix it with the smallest possible change.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
array = np.arange(4.0)
torch.from_numpy(array).sub_(array.mean())
assert array.mean() == 0  # the original array was changed

array = np.arange(4.0)
centered = torch.from_numpy(array).sub(array.mean())  # one underscore fewer
assert array.mean() == 1.5 and centered.mean() == 0
