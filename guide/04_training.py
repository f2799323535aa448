# %% [markdown]
# # 4. Training
#
# **When you are through**, you can let autograd compute gradients and say where they
# live and why they are zeroed, choose the loss that fits your last layer, take a step
# by hand and by an optimizer, write the training loop, and use the library's `fit`
# knowing what it adds.

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
    data = fl.load_data("digits")

# %% [markdown]
# Training on 60,000 pictures takes a minute with a simple loop. 10,000 are enough to
# see everything, and another 2,000 tell how well it works on pictures that were not
# trained on.

# %% Some pictures to learn from, others to look at
order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:12_000]
pixels = torch.stack([torch.tensor(data.images.read(row)) for row in order.tolist()])
images = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
labels = torch.tensor(data.labels)[order]

n_train = len(images) * 5 // 6
train = torch.utils.data.TensorDataset(images[:n_train], labels[:n_train])
trainloader = torch.utils.data.DataLoader(train, batch_size=64, shuffle=True)
test_images, test_labels = images[n_train:], labels[n_train:]
n_input, n_output = images[0].numel(), len(data.classes)
print(f"{n_train:,} pictures to learn from, {len(test_images):,} to look at")

# %% [markdown]
# ## Autograd
#
# A tensor with `requires_grad` is one that you will want a derivative for. What is
# computed from it requires one too, and remembers how it was made.

# %% Who requires a gradient
x = torch.zeros(1, requires_grad=False)
x.requires_grad_(True)

y = x * 2
assert y.requires_grad

with torch.no_grad():
    y = x * 2
assert not y.requires_grad  # computed, not recorded

torch.set_grad_enabled(False)
assert not (x * 2).requires_grad
# for everything that follows: easy to forget, so rather use the context above
torch.set_grad_enabled(True)

# %% [markdown]
# `backward` starts from a single number, which is what a loss is. From several numbers,
# take the sum or the mean first. The gradient then lives in the *leaves*: the tensors
# that you made, not those that were computed from them.

# %% backward, and where the gradient goes
x = torch.tensor([3.0], requires_grad=True)
z = x**2
z.backward()
print("dz/dx at 3 is", x.grad.item())
assert x.grad == 6  # it lives in x, not in z

several = torch.ones(3, requires_grad=True) * 2
try:
    several.backward()
except RuntimeError as error:
    print("RuntimeError:", error)
else:
    raise AssertionError("there is no gradient of three numbers at once")

# %% [markdown]
# ### Gradients add up
#
# Each `backward` *adds* to `.grad`. That is useful when a batch is too large for memory
# and comes in parts. It also means that you have to zero it before the next step.

# %% Gradients add up until they are zeroed
x = torch.tensor([3.0], requires_grad=True)
(x**2).backward()
(x**2).backward()
assert x.grad == 12  # twice 6

x.grad = None  # what `optimizer.zero_grad()` does
(x**2).backward()
assert x.grad == 6

# %% [markdown]
# ### Is it right?
#
# A derivative is the slope of a small step. Compare the two whenever you wrote
# something unusual; `gradcheck` does it in float64.

# %% Gradients checked by small steps
w = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
batch = torch.randn(5, 4, dtype=torch.float64)


def loss_of(w):
    """Some loss of some weights."""
    return torch.log_softmax(batch @ w, dim=1)[:, 0].mean()


loss_of(w).backward()
step = torch.zeros_like(w)
step[1, 2] = 1e-6
slope = (loss_of(w + step) - loss_of(w - step)) / 2e-6
print(f"by autograd {w.grad[1, 2].item():.8f}, by a small step {slope.item():.8f}")
assert torch.isclose(w.grad[1, 2], slope, rtol=1e-6)
assert torch.autograd.gradcheck(loss_of, w)

# %% [markdown]
# ## The loss
#
# A **loss** is one number that is small when the answers are good; training makes it
# smaller. For classes it is *cross entropy*: the negative logarithm of the probability
# that the network gave to the right one, averaged over the batch. Sure and right costs
# nothing; sure and wrong costs a lot. It is written in two ways, and they are the same:
#
# | last layer | loss |
# |---|---|
# | logits, nothing after them | `nn.CrossEntropyLoss`, `functional.cross_entropy` |
# | `nn.LogSoftmax(dim=1)` | `nn.NLLLoss`, negative log-likelihood |
#
# Both take floats `[B, K]` and the labels as class numbers, int64 `[B]`.

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
# > **Then and now.** Take logits and cross entropy; the notes' pair does the same with
# > one layer more. Two traps. First, section 3 of the notes ends its network in a
# > *softmax*, and section 4 warns: trained with cross entropy, it takes the softmax
# > twice. It runs, and it learns slowly and badly: probabilities are at most 1 apart,
# > so the loss cannot get near 0. Second, the output of `LogSoftmax` is called "logits"
# > there. Logits are what comes *before*; after it they are log-probabilities.

# %% Softmax twice cannot get near zero
sure_and_right = torch.full((1, 10), -100.0)
sure_and_right[0, 3] = 100.0
once = functional.cross_entropy(sure_and_right, torch.tensor([3]))
twice = functional.cross_entropy(
    torch.softmax(sure_and_right, dim=1), torch.tensor([3])
)
print(
    f"the loss of a perfect answer: {once.item():.3f}, and {twice.item():.3f} with "
    "the softmax taken twice"
)
assert once < 1e-6 and twice > 1.4

# %% What an untrained network costs
untrained = nn.Sequential(
    nn.Flatten(), nn.Linear(n_input, 128), nn.ReLU(), nn.Linear(128, n_output)
)
loss = functional.cross_entropy(untrained(images[:500]), labels[:500]).item()
print(
    f"loss {loss:.3f}; that of guessing blindly is log({n_output}) = "
    f"{torch.tensor(float(n_output)).log().item():.3f}"
)
# if yours is far off, look at the first weights
assert abs(loss - torch.tensor(float(n_output)).log().item()) < 0.5

# %% [markdown]
# ## A step by hand, and by an optimizer
#
# The gradient says where the loss grows, so go a little way against it: *gradient
# descent*. `lr`, the **learning rate**, says how little. The loss is that of a batch,
# not of all pictures, so the gradient is only roughly right; hence *stochastic*
# gradient descent, **SGD**. An **optimizer** holds the parameters: its `step()` changes
# them, and its `zero_grad()` forgets the last gradients.

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

# %% The same step by an optimizer
optimizer = optim.SGD(twin.parameters(), lr=0.01)
optimizer.zero_grad()
functional.cross_entropy(twin(batch_images), batch_labels).backward()
optimizer.step()

for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
    assert torch.allclose(mine, theirs)

# %% [markdown]
# ## The loop
#
# Five lines that you will write for the rest of your life: zero, forward, loss,
# backward, step. The network here ends in log-probabilities, with the loss that goes
# with them, so that you can read the older pair; from chapter 5 on it ends in logits.

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

epochs = 5 if n_train > 5000 else 50  # few pictures make few steps
losses, started = [], time.perf_counter()
for e in range(epochs):
    running_loss = 0.0
    for batch_images, batch_labels in trainloader:
        optimizer.zero_grad()
        output = model(batch_images)
        loss = criterion(output, batch_labels)
        loss.backward()
        optimizer.step()
        # item: a plain number, without the record behind it
        running_loss += loss.item() * len(batch_labels)
    losses.append(running_loss / n_train)
    if (e + 1) % (epochs // 5) == 0:
        print(f"epoch {e + 1}/{epochs}: training loss {losses[-1]:.3f}")
seconds_by_hand = time.perf_counter() - started

assert losses[-1] < losses[0]

# %% [markdown]
# > **Then and now.** `running_loss / len(trainloader)`, as in the notes, is the mean
# > over batches; a last batch of 16 pictures counts as much as one of 64. Weighing each
# > by its size gives the mean over pictures. And pictures are flattened by the network,
# > not in the loop: whoever uses the network later need not know.

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
    f"length of the last gradient: {sizes[1]:.2f}, and {sizes[0]:.2f} where nobody "
    "zeroed it"
)
assert sizes[0] > 2 * sizes[1]

# %% [markdown]
# ## Asking it
#
# The network ends in log-probabilities, so `torch.exp` gives probabilities; of logits
# it would be `torch.softmax`. No gradient is wanted now, so none is recorded: faster,
# and in less memory. A network takes batches, so one picture goes in as a batch of one.

# %% Inference
from firstlight.delivery.plots import view_classify

with torch.no_grad():
    logps = model(test_images[:1])
ps = torch.exp(logps)
view_classify(test_images[0], ps[0], data.classes, label=int(test_labels[0]))
assert torch.allclose(ps.sum(), torch.tensor(1.0))

# %% How often is it right
with torch.no_grad():
    right = (model(test_images).argmax(dim=1) == test_labels).float()
by_hand = right.mean().item()
print(f"{by_hand:.1%} of {len(right):,} pictures that it has not seen")
# far better than guessing, and far from done: chapter 5 takes a better optimizer
assert by_hand > 2 / n_output

# %% [markdown]
# ## The library's line
#
# firstlight's loop has the five lines above at its heart; read `train` in
# `firstlight/training/loop.py`. What it adds:
#
# - pictures stay uint8 until they are in the network, and whole epochs are dealt by one
#   permutation: no waiting for data;
# - every open choice is filled with what suits the network; for this one, a learning
#   rate that first rises and then falls to nothing (*one-cycle*); *weight decay*, which
#   pulls every matrix a little towards zero in each step; and AdamW, the optimizer of
#   chapter 5 with weight decay;
# - every epoch is scored on validation pictures, and the best one is kept;
# - a loss that is no longer a number stops the run and names the batch;
# - everything random depends on the seed, the epoch and the step or picture, so that on
#   the same machine the same seed gives the same network, as is shown below;
# - Ctrl-C keeps the best network so far.

# %% The loop and the library, on the same pictures
sample = (pixels.squeeze(-1).numpy(), labels.numpy())  # the same pictures, as arrays
run = fl.train(
    sample, fl.Recipe(model="mlp", hidden=(128, 64), epochs=5, batch_size=64)
)

print(f"by hand:   {by_hand:.3f} in {seconds_by_hand:.1f} s")
print(
    f"by fl.fit: {run.test.accuracy} in {run.seconds['train']:.1f} s, of "
    f"{len(run.data.split.train):,} pictures"
)
assert run.test.accuracy.high > by_hand

# %% The curves of the run
fl.training_curves([vars(epoch) for epoch in run.history], best=run.best_epoch)

# %% The same seed, the same network
again = fl.train(
    sample, fl.Recipe(model="mlp", hidden=(128, 64), epochs=1, batch_size=64)
)
once_more = fl.train(
    sample, fl.Recipe(model="mlp", hidden=(128, 64), epochs=1, batch_size=64)
)
for mine, theirs in zip(
    again.model.parameters(), once_more.model.parameters(), strict=True
):
    assert torch.equal(mine, theirs)

# %% [markdown]
# ## Exercises
#
# **1.** A batch of 64 does not fit into memory? Take four of 16, let the gradients add
# up, and step once. Show that the step is the same. What must each loss be divided by?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
whole = nn.Sequential(nn.Flatten(), nn.Linear(n_input, n_output))
parts = copy.deepcopy(whole)

functional.cross_entropy(whole(images[:64]), labels[:64]).backward()
for start in range(0, 64, 16):
    loss = functional.cross_entropy(
        parts(images[start : start + 16]), labels[start : start + 16]
    )
    (loss / 4).backward()  # each part's mean counts for a quarter

assert torch.allclose(whole[1].weight.grad, parts[1].weight.grad, atol=1e-6)

# %% [markdown]
# **2.** Train for one epoch with learning rates of 0.001, 0.1 and 100. Which is too
# small, which is right, which is too large?

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
# hardly moved; learned; thrown about, or no number at all
assert found[1] < found[0] and not found[1] >= found[2]

# %% [markdown]
# **3.** Train the network that ends in a softmax with `cross_entropy`, and the one that
# ends in logits, with everything else equal. Compare their accuracy after an epoch.

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
