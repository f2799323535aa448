# %% [markdown]
# # 7. Saving and loading
#
# **When you are through**, you can save and load weights, say why the architecture has
# to travel with them and why a pickle from a stranger is a program, move models between
# processor and graphics card, write a checkpoint that resumes a run to the last bit,
# and use a model file that carries everything.

# %% A trained network to save
import copy
import json
import pickle
import tempfile
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
        self.output = nn.Linear(sizes[-1], n_output)

    def forward(self, x):
        """Map pictures [B, C, H, W] to logits [B, K]."""
        x = torch.flatten(x, start_dim=1)
        for layer in self.hidden:
            x = functional.relu(layer(x))
        return self.output(x)


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
print(f"{accuracy:.3f} right of {len(images) - 1200} digits that it has not seen")
assert accuracy > 0.8

# %% [markdown]
# ## The state dict
#
# A module's state is a dictionary from names to tensors: its weights, and its
# *buffers*, such as the statistics of a batch norm, which no optimizer touches and
# which belong to it all the same.

# %% What is in it
for name, tensor in network.state_dict().items():
    print(f"{name:18} {tuple(tensor.shape)}")

normed = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
learned = {name for name, _ in normed.named_parameters()}
buffers = set(normed.state_dict()) - learned
print("not learned, and still needed:", ", ".join(sorted(buffers)))
assert "1.running_mean" in buffers

# %% Save and load the weights
torch.save(network.state_dict(), folder / "weights.pth")

other = Network(64, [128, 64], 10)
assert not torch.equal(other(images[:5]), network(images[:5]))
other.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
assert torch.equal(other(images[:5]), network(images[:5]))

# %% [markdown]
# A state dict is not a copy. It is the living tensors: training goes on in it.

# %% A state dict is alive
alive = network.state_dict()
kept = copy.deepcopy(alive)
with torch.no_grad():
    network.output.bias += 1
assert torch.equal(alive["output.bias"], network.output.bias)
assert not torch.equal(kept["output.bias"], network.output.bias)
network.load_state_dict(kept)

# %% [markdown]
# ## Weights alone are not a model
#
# Names and shapes have to fit. If the network was built with other layers, loading
# fails, and rightly.

# %% Another architecture cannot take them
try:
    Network(64, [400, 200, 100], 10).load_state_dict(kept)
except RuntimeError as error:
    print("RuntimeError:", "\n".join(str(error).splitlines()[:3]))
else:
    raise AssertionError("these weights do not fit")

# %% [markdown]
# Worse is what does *not* fail: the right shapes with another meaning. Nothing in a
# state dict says in which order the classes stand, or how pictures were normalized.

# %% What fails in silence
with torch.inference_mode():
    # 0..255, as another program may feed it
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
# So more has to travel with the weights: the sizes that the network is built from, the
# classes, and how pictures are normalized. In a dictionary this is quickly done:

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
# uint8, as a file has it
raw = torch.from_numpy(data.images.images[:5]).permute(0, 3, 1, 2)
normalized = (raw.float() / 255 - found["mean"]) / found["std"]
assert (
    torch.equal(rebuilt(normalized), network(images[:5]))
    and tuple(found["classes"]) == data.classes
)

# %% [markdown]
# ## A pickle is a program
#
# `torch.save` writes a *pickle*, Python's own format for objects, and a pickle can say:
# to build me, call this function with these arguments. Any function. Loading is
# running. Here is a harmless one, which appends to a list; a real one would call
# `os.system`.

# %% Loading runs what the file says
victim = []


def misdeed(what):
    """Stand in for whatever an attacker wants."""
    victim.append(what)


class Weights:
    """Looks like weights, and is a call."""

    def __reduce__(self):
        return misdeed, ("this ran while the file was being loaded",)


(folder / "from_a_stranger.pkl").write_bytes(pickle.dumps(Weights()))
with (folder / "from_a_stranger.pkl").open("rb") as file:
    pickle.load(file)
print(victim)
assert len(victim) == 1

torch.save({"weights": Weights()}, folder / "from_a_stranger.pth")
# what everybody's code did for years
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
# > **Then and now.** `torch.load(file)` used to run anything. Since PyTorch 2.6
# > `weights_only=True` is the default. In older versions it could be got around, so
# > there it is no protection: update, or take the format below. And `torch.save(model,
# > ...)`, the whole object, stores the *path* of your class, not the class: it breaks
# > when you rename a file, and needs `weights_only=False` to load.
#
# **safetensors** is a format that has no way to say *call*: a table of names, types and
# shapes in JSON, and then the bytes, which can be mapped into memory as they are.

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
print(json.dumps(header["output.weight"]))

# %% [markdown]
# ## Processor and graphics card
#
# Weights remember where they were. `map_location` brings them to where you are; without
# it, a file from a machine with a graphics card fails on one without.

# %% Moving between devices
device = (
    torch.accelerator.current_accelerator()
    if torch.accelerator.is_available()
    else torch.device("cpu")
)
# a module moves in place, and gives itself back
moved = copy.deepcopy(network).to(device)
# what goes in has to move too; a tensor's .to gives a new one
answer = moved(images[:5].to(device))
assert answer.device.type == device.type
torch.save(moved.state_dict(), folder / "from_there.pth")

here = torch.load(folder / "from_there.pth", map_location="cpu", weights_only=True)
assert all(tensor.device.type == "cpu" for tensor in here.values())
assert torch.allclose(answer.cpu(), network(images[:5]), atol=1e-4)

# %% [markdown]
# Build the optimizer *after* moving the network: its state has to live where the
# weights do. And in the loop, every batch follows the network.

# %% A training loop that follows the device
traveling = Network(64, [32], 10).to(device)
optimizer = optim.Adam(traveling.parameters(), lr=1e-3)
for rows in torch.arange(1200).split(60):
    batch_images, batch_labels = images[rows].to(device), labels[rows].to(device)
    optimizer.zero_grad()
    functional.cross_entropy(traveling(batch_images), batch_labels).backward()
    optimizer.step()
assert next(traveling.parameters()).device.type == device.type
assert optimizer.state_dict()["state"][0]["exp_avg"].device.type == device.type

# %% [markdown]
# ## Resuming
#
# Weights are not enough to go on training. Adam has a memory of past gradients; the
# order of the pictures depends on the epoch, and so does the learning rate if it
# changes. Save them too, and the resumed run is the same run, to the last bit. (Where
# dropout or shuffling draws from PyTorch's global dice, their state belongs in there as
# well: `torch.get_rng_state()`.)

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

forgetful = Network(64, [32], 10)
forgetful.load_state_dict(found["network"])
train(forgetful, optim.Adam(forgetful.parameters(), lr=1e-3), epochs=2, first=2)
assert not torch.equal(forgetful.output.weight, uninterrupted.output.weight)
print("with the optimizer's state: the same bits; without it: another network")

# %% [markdown]
# ## The library's line
#
# A firstlight model is one `.safetensors` file. Its header carries architecture,
# classes, size and fit of the pictures, normalization, temperature and scores; a
# checksum finds damage. Loading runs no code, and `fl.load` needs no class of yours.

# %% One file is the model
run = fl.train(data, fl.Recipe(model="mlp", hidden=(128, 64), epochs=5))
card = fl.inspect_model(run.folder / "model.safetensors")  # the header only: at once
print("architecture", card.architecture)
print("classes     ", card.classes)
print("input size  ", card.input_size, "mean", card.mean, "std", card.std)
print("test score  ", card.scores["test"]["accuracy"])

model = fl.load(run.folder / "model.safetensors")
# uint8: the model normalizes by itself
pixels = torch.from_numpy(data.images.images[:5]).permute(0, 3, 1, 2)
# it lives where it was trained, a loaded one on the processor
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
    raise AssertionError("one bit has changed")

# %% Write a model again, and load it
fl.save(folder / "copy.safetensors", model)
assert torch.equal(fl.load(folder / "copy.safetensors")(pixels), model(pixels))

# %% [markdown]
# ## Exercises
#
# **1.** Load the hidden layers of a trained network into one with another number of
# classes. Which names have to be left out? (`strict=False` lets you leave them out;
# look at what it returns.)

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
three_classes = Network(64, [128, 64], 3)
without_head = {
    name: tensor
    for name, tensor in network.state_dict().items()
    if not name.startswith("output.")
}
report = three_classes.load_state_dict(without_head, strict=False)
print(report)
assert (
    report.missing_keys == ["output.weight", "output.bias"]
    and not report.unexpected_keys
)
assert torch.equal(three_classes.hidden[0].weight, network.hidden[0].weight)

# %% [markdown]
# **2.** How large is a checkpoint with Adam's state, compared with the weights alone,
# and why?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
torch.save(found["network"], folder / "weights_only.pth")
ratio = (folder / "last.pth").stat().st_size / (
    folder / "weights_only.pth"
).stat().st_size
print(
    f"{ratio:.1f} times as large: for each weight Adam keeps a mean and a mean "
    "square of its gradients"
)
assert 2 < ratio < 3.5

# %% [markdown]
# **3.** The examination of the first seven chapters. Without looking back, write: a
# class for a fully connected network with any hidden layers and dropout; a function
# that trains it and validates after every epoch; one that saves it with all that is
# needed to rebuild it; and one that loads it. Train on the digits with hidden layers of
# 100 and 50, save, load, and show that the loaded network gives the same answers and
# has learned.


# %% tags=["hide-cell"] jupyter={"source_hidden": true}
class MLP(nn.Module):
    """Fully connected, with any hidden layers and dropout after each of them."""

    def __init__(self, n_input, n_output, hidden_layers, dropout=0.5):
        super().__init__()
        sizes = [n_input, *hidden_layers]
        self.hidden_layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.output = nn.Linear(sizes[-1], n_output)
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
        return self.output(x)


@torch.inference_mode()
def validate(network, images, labels):
    """Give loss and accuracy, without dropout."""
    network.eval()
    logits = network(images)
    loss = functional.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(dim=1) == labels).float().mean().item()


def train(network, loader, valid, epochs, lr=2e-3):
    """Train with Adam; look at the validation pictures after every epoch."""
    optimizer = optim.Adam(network.parameters(), lr=lr)
    for epoch in range(1, epochs + 1):
        network.train()  # validation has put it into evaluation mode
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
    """Write what is needed to rebuild the network, and to prepare its pictures."""
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
    """Rebuild a network; gives it, ready to use, and what else the file says."""
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
print(f"on {len(held_out[1])} digits that neither trained nor chose: {score:.3f}")
assert score > 0.8 > before[1]
