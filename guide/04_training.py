# %% [markdown]
# # 4. Training
#
# **By the end of this chapter**, you can let autograd compute gradients, say where they
# are stored and why they are zeroed, choose the loss that fits your last layer, take a
# step by hand and with an optimizer, write the training loop, and use the library's
# `train` and know what it adds.

# %% Load the pictures
import time

import torch
from torch import nn, optim
from torch.nn import functional

import firstlight as fl

torch.manual_seed(7)

try:
    data = fl.load_data("mnist", download=False)
except fl.UserError as reason:
    print(f"{reason}\nso this chapter uses the digits of scikit-learn")
    print("to download mnist once (12 MB): fl.load_data('mnist')")
    data = fl.load_data("digits")

# %% [markdown]
# Training on all 60,000 pictures takes a simple loop about a minute. Here, 10,000 are
# enough. Another 2,000 show how well the network does on pictures that it was not
# trained on.

# %% Pictures to learn from, and pictures to test on
order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:12_000]
pixels = torch.stack([torch.tensor(data.images.read(row)) for row in order.tolist()])
images = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
labels = torch.tensor(data.labels)[order]

n_train = len(images) * 5 // 6
train = torch.utils.data.TensorDataset(images[:n_train], labels[:n_train])
trainloader = torch.utils.data.DataLoader(train, batch_size=64, shuffle=True)
test_images, test_labels = images[n_train:], labels[n_train:]
n_input, n_output = images[0].numel(), len(data.classes)
print(f"{n_train:,} pictures to learn from, {len(test_images):,} to test on")

# %% [markdown]
# ## Autograd
#
# Set `requires_grad` on a tensor if you want derivatives with respect to it. Everything
# that you compute from it then requires a gradient too, and remembers how it was
# computed.

# %% What requires a gradient
x = torch.zeros(1, requires_grad=False)
x.requires_grad_(True)

y = x * 2
assert y.requires_grad

with torch.no_grad():
    y = x * 2
assert not y.requires_grad  # computed, not recorded

torch.set_grad_enabled(False)
assert not (x * 2).requires_grad
# it stays off until you turn it on again, which is easy to forget: prefer no_grad
torch.set_grad_enabled(True)

# %% [markdown]
# `backward` starts from a single number, such as a loss. If you have several numbers,
# take their sum or mean first. The gradient is then stored in the *leaves*: the tensors
# that you created, not those that were computed from them.

# %% backward, and where the gradient goes
x = torch.tensor([3.0], requires_grad=True)
z = x**2
z.backward()
print("dz/dx at 3 is", x.grad.item())
assert x.grad == 6  # it is stored in x, not in z

several = torch.ones(3, requires_grad=True) * 2
try:
    several.backward()
except RuntimeError as error:
    print("RuntimeError:", error)
else:
    raise AssertionError("backward needs a single number")

# %% [markdown]
# The record is a graph. Each result knows the operation that made it, its `grad_fn`,
# and each operation knows where its inputs came from, its `next_functions`. `backward`
# follows these links from the loss to the leaves. Here is the graph of one unit's
# squared error:

# %% From the loss back to the leaves
inputs, target = torch.tensor(2.0), torch.tensor(1.0)  # these need no gradient
weight = torch.tensor(1.5, requires_grad=True)
bias = torch.tensor(-0.5, requires_grad=True)
loss = (weight * inputs + bias - target) ** 2


def parents(function):
    """Return the operations that an operation takes its inputs from."""
    return [parent for parent, _ in function.next_functions if parent is not None]


def trace(function, depth=0):
    """Print an operation, and below it those that it depends on."""
    print("    " * depth + type(function).__name__)
    for parent in parents(function):
        trace(parent, depth + 1)


trace(loss.grad_fn)
loss.backward()
# the chain rule: 2 * error * input, and 2 * error
error = (weight * inputs + bias - target).item()
assert weight.grad == 2 * error * inputs and bias.grad == 2 * error

# %% The same graph, drawn tags=["hide-input"] jupyter={"source_hidden": true}
# Figure: a graph that is read from right to left. The loss is on the right. It was made
# by a power of a difference of a sum. The sum's inputs are the bias and a product,
# whose input is the weight. Weight and bias are marked as leaves, with their gradients.
import matplotlib.pyplot as plt

plt.figure(figsize=(8, 2.4), layout="constrained")
box = {"boxstyle": "round,pad=0.4", "facecolor": "#ffffff", "edgecolor": "#808080"}
leaf = box | {"edgecolor": "#0072b2", "linewidth": 2}
arrow = {"arrowstyle": "->", "color": "#808080", "shrinkA": 24, "shrinkB": 32}
names = {id(weight): "weight", id(bias): "bias"}
operations = {"Pow": "(…)²", "Sub": "− target", "Add": "+ bias", "Mul": "× input"}


def draw(function, x, y):
    """Draw an operation, and to its left those that it depends on."""
    if hasattr(function, "variable"):
        name = f"{names[id(function.variable)]}\n.grad = {function.variable.grad:g}"
    else:
        name = operations[type(function).__name__.removesuffix("Backward0")]
    style = leaf if hasattr(function, "variable") else box
    plt.text(x, y, name, ha="center", va="center", fontsize=9, bbox=style)
    for place, parent in enumerate(parents(function)):
        to = (x - 1, y - place)
        plt.annotate("", to, (x, y), arrowprops=arrow)
        draw(parent, *to)


plt.text(1, 0, f"loss = {loss.item():g}", ha="center", va="center", fontsize=9)
plt.annotate("", (0, 0), (1, 0), arrowprops=arrow | {"shrinkA": 30})
draw(loss.grad_fn, 0, 0)
plt.axis((-4.6, 1.5, -1.6, 0.6))
plt.axis("off")

# %% [markdown]
# ### Gradients add up
#
# Each `backward` *adds* to `.grad`. This is useful when a batch is too large for memory
# and has to be processed in parts. It also means that you must zero the gradients
# before the next step.

# %% Gradients add up until they are zeroed
x = torch.tensor([3.0], requires_grad=True)
(x**2).backward()
(x**2).backward()
assert x.grad == 12  # twice 6

x.grad = None  # what `optimizer.zero_grad()` does
(x**2).backward()
assert x.grad == 6

# %% [markdown]
# ### Checking a gradient
#
# You can check a derivative by taking a small step and measuring how much the result
# changes. Do this whenever you have written something unusual; `gradcheck` does it for
# you in float64.

# %% Check gradients with small steps
w = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
batch = torch.randn(5, 4, dtype=torch.float64)


def loss_of(w):
    """Return an example of a loss for these weights."""
    return torch.log_softmax(batch @ w, dim=1)[:, 0].mean()


loss_of(w).backward()
step = torch.zeros_like(w)
step[1, 2] = 1e-6
slope = (loss_of(w + step) - loss_of(w - step)) / 2e-6
print(f"autograd {w.grad[1, 2].item():.8f}, small step {slope.item():.8f}")
assert torch.isclose(w.grad[1, 2], slope, rtol=1e-6)
assert torch.autograd.gradcheck(loss_of, w)

# %% [markdown]
# ## The loss
#
# A **loss** is a single number that is small when the answers are good; training makes
# it smaller. For classes, the loss is *cross entropy*: the negative logarithm of the
# probability that the network gave to the right class, averaged over the batch. An
# answer that is confident and right costs almost nothing; one that is confident and
# wrong costs a lot. There are two equivalent ways to write it:
#
# | last layer | loss |
# |---|---|
# | logits, nothing after them | `nn.CrossEntropyLoss`, `functional.cross_entropy` |
# | `nn.LogSoftmax(dim=1)` | `nn.NLLLoss`, negative log-likelihood |
#
# Both take floats `[B, K]` and labels as class numbers, int64 `[B]`.

# %% Cross entropy is log-softmax and NLL
logits = 5 * torch.randn(64, 10)
wanted = torch.randint(0, 10, (64,))

by_cross_entropy = nn.CrossEntropyLoss()(logits, wanted)
by_two_steps = nn.NLLLoss()(nn.LogSoftmax(dim=1)(logits), wanted)
by_hand = -torch.log_softmax(logits, dim=1)[torch.arange(64), wanted].mean()

print(
    f"{by_cross_entropy.item():.6f} = {by_two_steps.item():.6f} = {by_hand.item():.6f}"
)
assert torch.allclose(by_cross_entropy, by_two_steps) and torch.allclose(
    by_cross_entropy, by_hand
)

# %% [markdown]
# Use logits and cross entropy. Do not apply a softmax before cross entropy, which
# contains one already. Such a network runs, but it applies the softmax twice, so it
# learns slowly and badly: probabilities differ by at most 1, and the loss cannot get
# near 0.
#
# Mind the words, too. Logits are what goes *into* `LogSoftmax`; what comes out are
# log-probabilities.

# %% With two softmaxes, the loss stays high
sure_and_right = torch.full((1, 10), -100.0)
sure_and_right[0, 3] = 100.0
once = functional.cross_entropy(sure_and_right, torch.tensor([3]))
twice = functional.cross_entropy(
    torch.softmax(sure_and_right, dim=1), torch.tensor([3])
)
print(
    f"the loss of a perfect answer: {once.item():.3f}, and {twice.item():.3f} with "
    "the softmax applied twice"
)
assert once < 1e-6 and twice > 1.4

# %% The loss of an untrained network
untrained = nn.Sequential(
    nn.Flatten(), nn.Linear(n_input, 128), nn.ReLU(), nn.Linear(128, n_output)
)
loss = functional.cross_entropy(untrained(images[:500]), labels[:500]).item()
print(
    f"loss {loss:.3f}; random guessing gives log({n_output}) = "
    f"{torch.tensor(float(n_output)).log().item():.3f}"
)
# if yours is far off, check how the weights are initialized
assert abs(loss - torch.tensor(float(n_output)).log().item()) < 0.5

# %% [markdown]
# ## A step by hand, and with an optimizer
#
# The gradient points in the direction in which the loss grows, so we take a small step
# in the opposite direction. This is *gradient descent*, and the **learning rate**,
# `lr`, sets how small the step is. Imagine walking down into a valley: small steps get
# you there slowly, and steps that are too large jump from one side to the other and
# climb.


# %% Descent into a valley
# Figure: three maps of a valley that is long from left to right and steep from top to
# bottom. With small steps, a path has barely moved. With larger ones it goes back and
# forth across the valley and reaches the bottom. With the largest ones it jumps from
# side to side, each time higher up.
def height(place):
    """Return the height at a place: flat along the valley, steep across it."""
    return place[..., 0] ** 2 / 2 + 4 * place[..., 1] ** 2


def descend(lr, steps=12):
    """Return the places [steps + 1, 2] of gradient descent."""
    place = torch.tensor([-4.0, 1.0], requires_grad=True)
    places = [place.detach().clone()]
    for _ in range(steps):
        place.grad = None
        height(place).backward()
        with torch.no_grad():
            place -= lr * place.grad
        places.append(place.detach().clone())
    return torch.stack(places)


grid = torch.stack(
    torch.meshgrid(
        torch.linspace(-5, 5, 101), torch.linspace(-4, 4, 81), indexing="xy"
    ),
    dim=2,
)
rates = (0.02, 0.2, 0.27)
fig, panels = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained", sharey=True)
for panel, lr in zip(panels, rates, strict=True):
    places = descend(lr)
    panel.contour(*grid.permute(2, 0, 1), height(grid), 12, colors="#b0b0b0")
    panel.plot(*places.T, "o-", color="#0072b2", markersize=4, linewidth=1)
    panel.set(title=f"lr = {lr}", xlim=(-5, 5), ylim=(-4, 4))
    print(f"lr {lr}: height {height(places[0]):.2f} becomes {height(places[-1]):.2f}")

slow, right, wild = (height(descend(lr)) for lr in rates)
assert (right[1:] < right[:-1]).all()  # each step goes down
assert right[-1] < 0.1 < slow[-1]
assert wild[-1] > wild[0]  # it ends higher than it began

# %% [markdown]
# For a network, the loss is computed on one batch and not on all pictures, so the
# gradient is only approximately right. That is why this is called *stochastic* gradient
# descent, **SGD**. An **optimizer** holds the parameters: its `step()` changes them,
# and its `zero_grad()` clears the old gradients.

# %% One step by hand
import copy

model = nn.Sequential(
    nn.Flatten(),
    nn.Linear(n_input, 128),
    nn.ReLU(),
    nn.Linear(128, 64),
    nn.ReLU(),
    nn.Linear(64, n_output),
)
twin = copy.deepcopy(model)
batch_images, batch_labels = next(iter(trainloader))

functional.cross_entropy(model(batch_images), batch_labels).backward()
with torch.no_grad():
    for weights in model.parameters():
        weights -= 0.01 * weights.grad
        weights.grad = None

# %% The same step with an optimizer
optimizer = optim.SGD(twin.parameters(), lr=0.01)
optimizer.zero_grad()
functional.cross_entropy(twin(batch_images), batch_labels).backward()
optimizer.step()

for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
    assert torch.allclose(mine, theirs)

# %% [markdown]
# ## The loop
#
# The training loop has five lines that you will write again and again: zero, forward,
# loss, backward, step. The network here ends in log-probabilities and uses the loss
# that goes with them, because you will often see this pair in older code. From chapter
# 5 on, networks end in logits.

# %% The training loop
criterion = nn.NLLLoss()
model = nn.Sequential(
    nn.Flatten(),
    nn.Linear(n_input, 128),
    nn.ReLU(),
    nn.Linear(128, 64),
    nn.ReLU(),
    nn.Linear(64, n_output),
    nn.LogSoftmax(dim=1),
)
optimizer = optim.SGD(model.parameters(), lr=0.01)

epochs = 5 if n_train > 5000 else 50  # with few pictures, an epoch has few steps
losses, started = [], time.perf_counter()
for e in range(epochs):
    running_loss = 0.0
    for batch_images, batch_labels in trainloader:
        optimizer.zero_grad()
        output = model(batch_images)
        loss = criterion(output, batch_labels)
        loss.backward()
        optimizer.step()
        # item: a plain number, without autograd's record
        running_loss += loss.item() * len(batch_labels)
    losses.append(running_loss / n_train)
    if (e + 1) % (epochs // 5) == 0:
        print(f"epoch {e + 1}/{epochs}: training loss {losses[-1]:.3f}")
seconds_by_hand = time.perf_counter() - started

assert losses[-1] < losses[0]

# %% [markdown]
# The loss of each batch is weighted by its size, which gives the mean over all
# *pictures*. The mean over batches, `running_loss / len(trainloader)`, would count a
# last batch of 16 pictures as much as one of 64. Also, the network flattens the
# pictures itself, so whoever uses it later does not have to think of that.

# %% Forgetting zero_grad
forgetful = nn.Sequential(nn.Flatten(), nn.Linear(n_input, n_output))
careful = copy.deepcopy(forgetful)
for network, zeroed in ((forgetful, False), (careful, True)):
    optimizer = optim.SGD(network.parameters(), lr=0.001)
    for start in range(0, 640, 64):
        if zeroed:
            optimizer.zero_grad()
        functional.cross_entropy(
            network(images[start : start + 64]), labels[start : start + 64]
        ).backward()
        optimizer.step()
sizes = [network[1].weight.grad.norm().item() for network in (forgetful, careful)]
print(
    f"length of the last gradient: {sizes[1]:.2f}, and {sizes[0]:.2f} without zero_grad"
)
assert sizes[0] > 2 * sizes[1]

# %% [markdown]
# ## Inference
#
# The network ends in log-probabilities, so `torch.exp` gives probabilities; for logits
# you would use `torch.softmax`. You do not need gradients now, so do not record any:
# that is faster and takes less memory. A network takes batches, so pass a single
# picture as a batch of one.

# %% Probabilities for one picture
# Figure: a handwritten digit, and a bar for the probability of each of the ten digits.
with torch.no_grad():
    logps = model(test_images[:1])
ps = torch.exp(logps)
fl.view_classify(test_images[0], ps[0], data.classes, label=int(test_labels[0]))
assert torch.allclose(ps.sum(), torch.tensor(1.0))

# %% How often it is right
with torch.no_grad():
    right = (model(test_images).argmax(dim=1) == test_labels).float()
by_hand = right.mean().item()
print(f"{by_hand:.1%} right of {len(right):,} pictures that it was not trained on")
# far better than guessing, but not good yet; chapter 5 has a better optimizer
assert by_hand > 2 / n_output

# %% [markdown]
# ## The same with the library
#
# The five lines above are also the heart of firstlight's loop: see `train_epochs` in
# `firstlight/training/loop.py`. It adds:
#
# - Speed: pictures stay uint8 until they reach the network, and a batch is read from
#   memory at once, so training does not wait for data.
# - Defaults: every choice that you leave open gets a value that suits the network.
#   Here, these are a learning rate that first rises and then falls to zero
#   (*one-cycle*), *weight decay*, which pulls the weights slightly toward zero at each
#   step, and AdamW, the optimizer of chapter 5 with weight decay.
# - Validation: every epoch is scored on validation pictures, and the best epoch is
#   kept.
# - A check: if the loss is no longer a number, the run stops and says in which batch.
# - Reproducibility: on the same machine, the same seed gives the same network, as shown
#   below.
# - Interruption: Ctrl-C keeps the best network so far.

# %% The loop and the library, on the same pictures
sample = (pixels.squeeze(-1).numpy(), labels.numpy())  # the pictures, as arrays
run = fl.train(sample, model="mlp", hidden=(128, 64), epochs=5, batch_size=64)

print(f"by hand:     {by_hand:.3f} in {seconds_by_hand:.1f} s")
print(
    f"by fl.train: {run.test.accuracy} in {run.seconds['train']:.1f} s, of "
    f"{len(run.data.split.train):,} pictures"
)
assert run.test.accuracy.high > by_hand

# %% The curves of the run
# Figure: two panels with one point per epoch. The training and validation losses fall,
# and the validation accuracy rises. The best epoch is marked.
fl.training_curves([vars(epoch) for epoch in run.history], best=run.best_epoch)

# %% The same seed, the same network
recipe = fl.Recipe.of(model="mlp", hidden=(128, 64), epochs=1, batch_size=64)
again = fl.train(sample, recipe)
once_more = fl.train(sample, recipe)
for mine, theirs in zip(
    again.model.parameters(), once_more.model.parameters(), strict=True
):
    assert torch.equal(mine, theirs)

# %% [markdown]
# ## Exercises
#
# **1.** Suppose a batch of 64 does not fit into memory. Take four batches of 16, let
# the gradients add up, and step once. Show that the gradient is the same. By what
# number do you have to divide each loss?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
whole = nn.Sequential(nn.Flatten(), nn.Linear(n_input, n_output))
parts = copy.deepcopy(whole)

functional.cross_entropy(whole(images[:64]), labels[:64]).backward()
for start in range(0, 64, 16):
    loss = functional.cross_entropy(
        parts(images[start : start + 16]), labels[start : start + 16]
    )
    (loss / 4).backward()  # each is the mean over a quarter of the pictures

assert torch.allclose(whole[1].weight.grad, parts[1].weight.grad, atol=1e-6)

# %% [markdown]
# **2.** Train for one epoch with learning rates of 0.001, 0.1, and 100. Which is too
# small, which is about right, and which is too large?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
found = []
for lr in (0.001, 0.1, 100.0):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(n_input, 64), nn.ReLU(), nn.Linear(64, n_output)
    )
    optimizer = optim.SGD(network.parameters(), lr=lr)
    for batch_images, batch_labels in trainloader:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(batch_images), batch_labels)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found.append(functional.cross_entropy(network(test_images), test_labels).item())
    print(f"lr {lr:g}: loss {found[-1]:.3f}")
# it barely moved; it learned; it jumped around, or is no longer a number
assert found[1] < found[0] and not found[1] >= found[2]

# %% [markdown]
# **3.** Train the network that ends in a softmax and the one that ends in logits, both
# with `cross_entropy` and with everything else equal. Compare their accuracy after one
# epoch.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
accuracies = []
for ending in ([nn.Softmax(dim=1)], []):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_input, 64),
        nn.ReLU(),
        nn.Linear(64, n_output),
        *ending,
    )
    optimizer = optim.SGD(network.parameters(), lr=0.1)
    for batch_images, batch_labels in trainloader:
        optimizer.zero_grad()
        functional.cross_entropy(network(batch_images), batch_labels).backward()
        optimizer.step()
    with torch.no_grad():
        accuracies.append(
            (network(test_images).argmax(dim=1) == test_labels).float().mean().item()
        )
print(f"softmax twice: {accuracies[0]:.3f}, logits: {accuracies[1]:.3f}")
assert accuracies[1] > accuracies[0]
