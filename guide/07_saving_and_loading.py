# %% [markdown]
# # 7. Saving and loading
#
# **By the end of this chapter**, you can save and load weights, explain why you have to
# save the architecture with them and why a pickle from a stranger is a program, move
# models between processor and graphics card, write a checkpoint that resumes a run
# exactly, bit for bit, resume a run that was killed, and use a model file that contains
# everything.

# %% A trained network to save
import copy
import hashlib
import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn, optim
from torch.nn import functional

import firstlight as fl

folder = Path(tempfile.mkdtemp())
data = fl.load_data("digits")
images = (
    torch.from_numpy(data.images.images).permute(0, 3, 1, 2).float() / 255 - 0.5
) / 0.5
labels = torch.from_numpy(data.labels)


class Network(nn.Module):
    """Fully connected, with any hidden layers."""

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


def train(network, optimizer, epochs, first=0):
    """Train on the first 1,200 digits; the order depends on the epoch alone."""
    for epoch in range(first, first + epochs):
        order = torch.randperm(1200, generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(60):
            optimizer.zero_grad()
            functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()


torch.manual_seed(0)
network = Network(64, [128, 64], 10)
train(network, optim.Adam(network.parameters(), lr=1e-3), epochs=5)
with torch.inference_mode():
    accuracy = (
        (network(images[1200:]).argmax(dim=1) == labels[1200:]).float().mean().item()
    )
print(f"{accuracy:.3f} right of {len(images) - 1200} digits it was not trained on")
assert accuracy > 0.8

# %% [markdown]
# ## The state dict
#
# A module's state is a dictionary that maps names to tensors: its weights and its
# *buffers*. The optimizer does not change a buffer, such as the running averages of a
# batch norm, but it is still part of the model.

# %% What is in it
for name, tensor in network.state_dict().items():
    print(f"{name:18} {tuple(tensor.shape)}")

normed = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
learned = {name for name, _ in normed.named_parameters()}
buffers = set(normed.state_dict()) - learned
print("not learned, but still needed:", ", ".join(sorted(buffers)))
assert "1.running_mean" in buffers

# %% Save and load the weights
torch.save(network.state_dict(), folder / "weights.pth")

other = Network(64, [128, 64], 10)
assert not torch.equal(other(images[:5]), network(images[:5]))
other.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
assert torch.equal(other(images[:5]), network(images[:5]))

# %% [markdown]
# A state dict is not a copy. It refers to the network's own tensors, so its values
# change as training goes on.

# %% A state dict changes with the network
current = network.state_dict()
kept = copy.deepcopy(current)
with torch.no_grad():
    network.head.bias += 1
assert torch.equal(current["head.bias"], network.head.bias)
assert not torch.equal(kept["head.bias"], network.head.bias)
network.load_state_dict(kept)

# %% [markdown]
# ## Weights alone are not a model
#
# The names and shapes must match. If the network was built with different layers,
# loading fails, as it should.

# %% Another architecture cannot use them
try:
    Network(64, [400, 200, 100], 10).load_state_dict(kept)
except RuntimeError as error:
    print("RuntimeError:", "\n".join(str(error).splitlines()[:3]))
else:
    raise AssertionError("these weights do not match")

# %% [markdown]
# It is worse when loading does *not* fail, but the numbers mean something else. A state
# dict does not say in what order the classes are, or how the pictures were normalized.

# %% What fails silently
with torch.inference_mode():
    # 0..255, as another program might pass it
    unnormalized = (images[1200:] + 1) / 2 * 255
    silent = (
        (network(unnormalized).argmax(dim=1) == labels[1200:]).float().mean().item()
    )
    relabeled = (
        (network(images[1200:]).argmax(dim=1) == (labels[1200:] + 1) % 10)
        .float()
        .mean()
        .item()
    )
print(
    f"accuracy {accuracy:.2f}; {silent:.2f} without normalization; {relabeled:.2f} "
    "with the classes in another order"
)
assert silent < accuracy and relabeled < 0.2

# %% [markdown]
# So the file needs more than the weights: the sizes of the layers, the classes, and how
# to normalize pictures. A dictionary can hold all of it:

# %% A checkpoint with its architecture
checkpoint = {
    "input_size": 64,
    "hidden_layers": [128, 64],
    "output_size": 10,
    "classes": list(data.classes),
    "mean": 0.5,
    "std": 0.5,
    "state_dict": network.state_dict(),
}
torch.save(checkpoint, folder / "checkpoint.pth")


def load_checkpoint(path):
    """Build the network that a checkpoint describes, with its weights."""
    found = torch.load(path, weights_only=True, map_location="cpu")
    network = Network(found["input_size"], found["hidden_layers"], found["output_size"])
    network.load_state_dict(found["state_dict"])
    return network.eval(), found


rebuilt, found = load_checkpoint(folder / "checkpoint.pth")
# uint8, as in a file
raw = torch.from_numpy(data.images.images[:5]).permute(0, 3, 1, 2)
normalized = (raw.float() / 255 - found["mean"]) / found["std"]
assert (
    torch.equal(rebuilt(normalized), network(images[:5]))
    and tuple(found["classes"]) == data.classes
)

# %% [markdown]
# ## A pickle is a program
#
# `torch.save` writes a *pickle*, Python's own format for objects. A pickle can say
# which function to call to build an object, and with which arguments. That can be any
# function, so loading a pickle means running code. The pickle below is harmless and
# appends to a list; a malicious one would call `os.system`.

# %% Loading runs code from the file
victim = []


def misdeed(what):
    """Do whatever an attacker wants; this one is harmless."""
    victim.append(what)


class Weights:
    """Looks like weights, but calls a function."""

    def __reduce__(self):
        return misdeed, ("this ran while the file was being loaded",)


(folder / "from_a_stranger.pkl").write_bytes(pickle.dumps(Weights()))
with (folder / "from_a_stranger.pkl").open("rb") as file:
    pickle.load(file)
print(victim)
assert len(victim) == 1

torch.save({"weights": Weights()}, folder / "from_a_stranger.pth")
# what most code did for years
torch.load(folder / "from_a_stranger.pth", weights_only=False)
assert len(victim) == 2

# %% weights_only refuses
try:
    torch.load(folder / "from_a_stranger.pth", weights_only=True)
except pickle.UnpicklingError as error:
    print("UnpicklingError:", str(error).splitlines()[0])
else:
    raise AssertionError("it should have been refused")
assert len(victim) == 2  # nothing ran

# %% [markdown]
# Since PyTorch 2.6, `weights_only=True` is the default. Older versions run anything,
# and in some of them the check could be bypassed, so update, or use the format below.
# Do not save a whole network with `torch.save(model, ...)`. Such a file holds the
# *path* of your class, not the class itself: it breaks when you rename a file, and it
# needs `weights_only=False` to load.
#
# **safetensors** is a format that cannot call anything. It has a table of names, types,
# and shapes in JSON, followed by the numbers, which can be mapped directly into memory.

# %% safetensors
from safetensors.torch import load_file, save_file

save_file(network.state_dict(), folder / "weights.safetensors")
same = load_file(folder / "weights.safetensors")
assert all(
    torch.equal(same[name], tensor) for name, tensor in network.state_dict().items()
)

header_size = int.from_bytes(
    (folder / "weights.safetensors").read_bytes()[:8], "little"
)
header = json.loads((folder / "weights.safetensors").read_bytes()[8 : 8 + header_size])
print(json.dumps(header["head.weight"]))

# %% [markdown]
# ## Processor and graphics card
#
# A saved tensor remembers its device. `map_location` loads it onto the device that you
# have. Without it, a file from a machine with a graphics card fails to load on a
# machine that has none.

# %% Moving between devices
device = (
    torch.accelerator.current_accelerator()
    if torch.accelerator.is_available()
    else torch.device("cpu")
)
# a module moves in place, and returns itself
moved = copy.deepcopy(network).to(device)
# the input has to move too; a tensor's .to returns a new tensor
answer = moved(images[:5].to(device))
assert answer.device.type == device.type
torch.save(moved.state_dict(), folder / "from_there.pth")

here = torch.load(folder / "from_there.pth", map_location="cpu", weights_only=True)
assert all(tensor.device.type == "cpu" for tensor in here.values())
assert torch.allclose(answer.cpu(), network(images[:5]), atol=1e-4)

# %% [markdown]
# Build the optimizer *after* you move the network, because its state must be on the
# same device as the weights. In the loop, move every batch to the network's device.

# %% A training loop on any device
on_device = Network(64, [32], 10).to(device)
optimizer = optim.Adam(on_device.parameters(), lr=1e-3)
for rows in torch.arange(1200).split(60):
    batch_images, batch_labels = images[rows].to(device), labels[rows].to(device)
    optimizer.zero_grad()
    functional.cross_entropy(on_device(batch_images), batch_labels).backward()
    optimizer.step()
assert next(on_device.parameters()).device.type == device.type
assert optimizer.state_dict()["state"][0]["exp_avg"].device.type == device.type

# %% [markdown]
# ## Resuming
#
# To continue training, you need more than the weights. Adam remembers past gradients.
# The order of the pictures depends on the epoch, and so does the learning rate if it
# changes. Save the optimizer's state and the epoch too, and the resumed run gives
# exactly the same weights as one that was never interrupted. (If dropout or shuffling
# uses PyTorch's global random generator, save its state as well:
# `torch.get_rng_state()`.)

# %% Interrupted and resumed, bit for bit
torch.manual_seed(1)
uninterrupted = Network(64, [32], 10)
interrupted = copy.deepcopy(uninterrupted)
train(uninterrupted, optim.Adam(uninterrupted.parameters(), lr=1e-3), epochs=4)

optimizer = optim.Adam(interrupted.parameters(), lr=1e-3)
train(interrupted, optimizer, epochs=2)
state = {
    "network": interrupted.state_dict(),
    "optimizer": optimizer.state_dict(),
    "epoch": 2,
}
torch.save(state, folder / "last.pth")

found = torch.load(folder / "last.pth", weights_only=True)
resumed = Network(64, [32], 10)
resumed.load_state_dict(found["network"])
optimizer = optim.Adam(resumed.parameters(), lr=1e-3)
optimizer.load_state_dict(found["optimizer"])
train(resumed, optimizer, epochs=2, first=found["epoch"])
for mine, theirs in zip(resumed.parameters(), uninterrupted.parameters(), strict=True):
    assert torch.equal(mine, theirs)

without_state = Network(64, [32], 10)
without_state.load_state_dict(found["network"])
optimizer = optim.Adam(without_state.parameters(), lr=1e-3)
train(without_state, optimizer, epochs=2, first=2)
assert not torch.equal(without_state.head.weight, uninterrupted.head.weight)
print("with the optimizer's state: the same bits; without it: different weights")

# %% [markdown]
# ## The same with the library
#
# A firstlight model is one `.safetensors` file. Its header holds the architecture, the
# classes, the size of the pictures and how they are resized, the normalization, the
# temperature, and the scores. A checksum detects damage. Loading the file runs no code,
# and `fl.load` does not need your class.

# %% One file is the model
run = fl.train(data, model="mlp", hidden=(128, 64), epochs=5)
# only the header is read
card = fl.read_model_card(run.folder / "model.safetensors")
print("architecture", card.architecture)
print("classes     ", card.classes)
print("input size  ", card.input_size, "mean", card.mean, "std", card.std)
print("resize      ", card.resize)
print("test score  ", card.scores["test"]["accuracy"])

model = fl.load(run.folder / "model.safetensors")
# uint8: the model normalizes them itself
pixels = torch.from_numpy(data.images.images[:5]).permute(0, 3, 1, 2)
# a loaded model is on the processor; this one is still where it was trained
trained = copy.deepcopy(run.model).cpu()
assert torch.equal(model(pixels), trained(pixels))

# %% A damaged file is refused
blob = bytearray((run.folder / "model.safetensors").read_bytes())
blob[-100] ^= 1  # one bit
(folder / "damaged.safetensors").write_bytes(blob)
try:
    fl.load(folder / "damaged.safetensors")
except fl.UserError as error:
    print(error)
else:
    raise AssertionError("one bit was changed")

# %% Save the model again, and load it
fl.save(folder / "copy.safetensors", model)
assert torch.equal(fl.load(folder / "copy.safetensors")(pixels), model(pixels))

# %% [markdown]
# ## A run that is killed
#
# While `fl.train` works, it saves the whole state of training in the run folder, under
# `last/`, after epochs and every few minutes: the weights, the optimizer's state, the
# place within the epoch, and the best model so far. The previous state is replaced only
# when the new one has been read back and is whole. The order of the pictures and all
# other randomness depend on the seed, the epoch, and the picture alone. So a run that
# was killed can be resumed, and it ends with the same bits as a run that nobody
# disturbed. We start the run from above once more, in another process, kill that
# process, and resume the run in this one.

# %% Kill a run, and resume it
killed = folder / "killed"
script = f"""
import firstlight as fl
fl.train("digits", model="mlp", hidden=(128, 64), epochs=5, out={str(killed)!r})
"""
process = subprocess.Popen(
    [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
state = killed / "last" / "training.safetensors"
while not state.exists() and process.poll() is None:
    time.sleep(0.001)
process.kill()  # SIGKILL, for which no process can prepare
process.wait()
assert state.exists() and not (killed / "report.html").exists()

resumed_run = fl.train(resume=killed)


def digest(of_run):
    """Return the SHA-256 of the model file of a run."""
    return hashlib.sha256(
        (of_run.folder / "model.safetensors").read_bytes()
    ).hexdigest()


assert digest(resumed_run) == digest(run)
print("undisturbed       ", digest(run)[:16])
print("killed and resumed", digest(resumed_run)[:16])

# %% [markdown]
# On the command line, that is `firstlight train --resume RUN`. A script that may be
# killed and started again, as on a cluster, says `firstlight train PICTURES --resume
# auto`: that resumes the unfinished run with the same choices, or begins one. If
# something has changed on which the bits depend, such as the version of PyTorch or the
# pictures, firstlight says what, and goes on only with `--resume-inexact`.

# %% [markdown]
# ## Exercises
#
# **1.** Load the hidden layers of a trained network into a network with a different
# number of classes. Which names do you have to leave out? (`strict=False` allows that;
# look at what it returns.)

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
three_classes = Network(64, [128, 64], 3)
without_head = {
    name: tensor
    for name, tensor in network.state_dict().items()
    if not name.startswith("head.")
}
report = three_classes.load_state_dict(without_head, strict=False)
print(report)
assert (
    report.missing_keys == ["head.weight", "head.bias"] and not report.unexpected_keys
)
assert torch.equal(three_classes.hidden[0].weight, network.hidden[0].weight)

# %% [markdown]
# **2.** How large is a checkpoint with Adam's state, compared with the weights alone?
# Why?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
torch.save(found["network"], folder / "weights_only.pth")
ratio = (folder / "last.pth").stat().st_size / (
    folder / "weights_only.pth"
).stat().st_size
print(
    f"{ratio:.1f} times as large: for each weight, Adam keeps the mean of its "
    "gradients and the mean of their squares"
)
assert 2 < ratio < 3.5

# %% [markdown]
# **3.** This exercise covers the first seven chapters. Without looking back, write a
# class for a fully connected network with any number of hidden layers and dropout.
# Write a function that trains it and validates after every epoch, one that saves it
# with everything needed to rebuild it, and one that loads it. Train on the digits with
# hidden layers of 100 and 50 units, save, and load. Show that the loaded network gives
# the same answers, and that it has learned something.


# %% tags=["hide-cell"] jupyter={"source_hidden": true}
class MLP(nn.Module):
    """Fully connected, with any hidden layers, and dropout after each of them."""

    def __init__(self, n_input, n_output, hidden_layers, dropout=0.5):
        super().__init__()
        sizes = [n_input, *hidden_layers]
        self.hidden_layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.head = nn.Linear(sizes[-1], n_output)
        self.dropout = nn.Dropout(dropout)
        self.choices = {
            "n_input": n_input,
            "n_output": n_output,
            "hidden_layers": list(hidden_layers),
            "dropout": dropout,
        }

    def forward(self, x):
        """Map pictures [B, C, H, W] to logits [B, K]."""
        x = torch.flatten(x, start_dim=1)
        for layer in self.hidden_layers:
            x = self.dropout(functional.relu(layer(x)))
        return self.head(x)


@torch.inference_mode()
def validate(network, images, labels):
    """Return loss and accuracy, without dropout."""
    network.eval()
    logits = network(images)
    loss = functional.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(dim=1) == labels).float().mean().item()


def train(network, loader, valid, epochs, lr=2e-3):
    """Train with Adam, and validate after every epoch."""
    optimizer = optim.Adam(network.parameters(), lr=lr)
    for epoch in range(1, epochs + 1):
        network.train()  # validation put it into evaluation mode
        running_loss = 0.0
        for batch_images, batch_labels in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(batch_images), batch_labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * len(batch_labels)
        valid_loss, valid_accuracy = validate(network, *valid)
        print(
            f"epoch {epoch}: training loss {running_loss / len(loader.dataset):.3f}, "
            f"validation loss {valid_loss:.3f}, accuracy {valid_accuracy:.3f}"
        )


def save(path, network, classes, mean=0.5, std=0.5):
    """Save what is needed to rebuild the network and to prepare its pictures."""
    torch.save(
        {
            "choices": network.choices,
            "classes": list(classes),
            "mean": mean,
            "std": std,
            "state_dict": network.state_dict(),
        },
        path,
    )


def load(path):
    """Return the rebuilt network, ready to use, and the contents of the file."""
    found = torch.load(path, weights_only=True, map_location="cpu")
    network = MLP(**found["choices"])
    network.load_state_dict(found["state_dict"])
    return network.eval(), found


torch.manual_seed(0)
trainloader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(images[:1200], labels[:1200]),
    batch_size=64,
    shuffle=True,
)
valid, held_out = (images[1200:1500], labels[1200:1500]), (images[1500:], labels[1500:])

fc_model = MLP(64, 10, [100, 50], dropout=0.2)
before = validate(fc_model, *valid)
train(fc_model, trainloader, valid, epochs=8)
save(folder / "fc_model.pth", fc_model, data.classes)

loaded, told = load(folder / "fc_model.pth")
fc_model.eval()
assert torch.equal(loaded(held_out[0]), fc_model(held_out[0]))
assert tuple(told["classes"]) == data.classes and told["std"] == 0.5
loss, score = validate(loaded, *held_out)
print(f"{score:.3f} right of {len(held_out[1])} digits that it has never seen")
assert score > 0.8 > before[1]
