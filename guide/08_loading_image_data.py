# %% [markdown]
# # 8. Loading image data
#
# **By the end of this chapter**, you can load pictures from folders and lists, bring
# them to one size and normalize them, augment them and see what that does, find broken
# files before they cause trouble, keep copies of a picture in the same split, find
# wrong labels and correct them, notice what a network could cheat by, and load pictures
# so fast that training never waits.
#
# The pictures are photographs of clothes, from a [set in the public
# domain](https://github.com/alexeygrigorev/clothing-dataset-small). To use it, pack its
# folders into `clothing10.tar`, and set `FIRSTLIGHT_DATA` to the folder that holds this
# file. Without it, the chapter uses the digits of scikit-learn.

# %% A folder of pictures
import io
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import firstlight as fl

torch.manual_seed(0)
root = Path(tempfile.mkdtemp()) / "pictures"
archive = Path(os.environ.get("FIRSTLIGHT_DATA", ".")) / "clothing10.tar"
try:
    source, side = fl.load_data(archive), 160
except fl.UserError as reason:
    print(f"{reason}\nso this chapter uses the digits of scikit-learn")
    source, side = fl.load_data("digits"), 32

# write 600 pictures as a person would keep them: files in folders
for row in np.random.default_rng(0).permutation(len(source))[:600]:
    stored = source.images.read(row)  # the bytes of a file, or an array
    image = (
        Image.open(io.BytesIO(stored))
        if isinstance(stored, bytes)
        else Image.fromarray(stored.squeeze())
    )
    scale = side / max(image.size)
    image = image.resize([max(1, round(scale * length)) for length in image.size])
    file = root / source.classes[source.labels[row]] / f"{row:04d}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, quality=95)

for path in sorted(root.iterdir())[:3]:
    print(
        path.name,
        "holds",
        len(list(path.iterdir())),
        "files, such as",
        sorted(path.iterdir())[0].name,
    )

# %% [markdown]
# One folder per class is the layout that every tool understands. If the pictures are
# already split, the splits go one level above the classes: `train/<class>`,
# `valid/<class>`, `test/<class>`.

# %% [markdown]
# ## Folders, PyTorch's way
#
# torchvision's `ImageFolder` returns pairs of a picture and its label, and a chain of
# `transforms` prepares each picture.

# %% ImageFolder, transforms and DataLoader
# Figure: eight pictures from the folder, cut to squares of 64 pixels, each below the
# name of its class.
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

transform = v2.Compose(
    [
        v2.ToImage(),  # uint8 [C, H, W]
        v2.RGB(),
        v2.Resize(72),  # the short side
        v2.CenterCrop(64),
        v2.ToDtype(torch.float32, scale=True),  # to 0..1
        v2.Normalize((0.5,) * 3, (0.5,) * 3),  # to -1..1
    ]
)
plain = datasets.ImageFolder(root, transform=transform)
loader = DataLoader(plain, batch_size=32, shuffle=True)
images, labels = next(iter(loader))

print(plain.classes[:3], images.shape)
assert images.shape == (32, 3, 64, 64) and images.min() >= -1
fl.image_grid(list(images[:8]), [plain.classes[label] for label in labels[:8]])

# %% [markdown]
# ## The same with the library
#
# `load_data` takes the folder, a `.zip` or `.tar` of it, a list, or arrays. It only
# reads the names. `check` decodes every picture once and reports what it finds.

# %% The library loads it
data = fl.load_data(root)
print(f"{len(data)} pictures, classes {', '.join(data.classes[:3])} ...")
found = fl.check(data).to_json()
print(f"{len(found['sizes'])} different sizes, modes {found['modes']}")
assert data.classes == tuple(plain.classes) and len(data) == len(plain)

# %% A list works as well
table = root.parent / "list.csv"
rows = "".join(
    f"pictures/{name},{data.classes[label]}\n"
    for name, label in zip(data.names, data.labels, strict=True)
)
table.write_text("image,label\n" + rows)
listed = fl.load_data(table)
assert listed.classes == data.classes and np.array_equal(listed.labels, data.labels)

# %% [markdown]
# ## Normalization
#
# Pictures with mean zero and variance one make training faster, because all weights
# then see numbers of the same size. Compute the mean and the standard deviation from
# the *training* pictures only, because the test pictures must not influence the model
# in any way. Whoever uses the network has to normalize in exactly the same way. In
# firstlight, the model does it.

# %% The model normalizes its input
model = fl.Classifier(
    architecture={"name": "mlp"}, classes=data.classes, input_size=(3, 32, 32)
)
pixels = np.stack(
    [
        np.asarray(Image.open(root / name).convert("RGB").resize((32, 32)))
        for name in data.names
    ]
)
shuffled = np.random.default_rng(0).permutation(pixels)
train_pixels = torch.from_numpy(shuffled[:400]).permute(0, 3, 1, 2)
model.fit_normalization(train_pixels)
normalized = model.normalize(train_pixels)
print(f"mean {normalized.mean():.4f}, deviation {normalized.std():.4f}")
assert abs(normalized.mean()) < 1e-3 and abs(normalized.std() - 1) < 1e-3

# %% [markdown]
# ## Augmentation
#
# If you shift, rotate, or mirror a photograph, it still shows the same thing. Changing
# the training pictures at random in this way has the effect of a larger set. Only do it
# to training pictures, and only in ways that do not change the class: a mirrored cat is
# still a cat, but a mirrored 3 is not a 3.

# %% One photograph, eight times
# Figure: eight versions of a photograph of a flower. Each is cut, turned, mirrored, or
# recolored in its own way, and some have a patch erased.
from sklearn.datasets import load_sample_images

sample = load_sample_images()
photo = np.asarray(Image.fromarray(sample.images[1]).resize((213, 142)))
print(
    "The photograph comes with scikit-learn:",
    sample.DESCR.split("flower.jpg")[1].rstrip(),
)

batch = torch.from_numpy(np.stack([photo] * 8)).permute(0, 3, 1, 2)
augment = fl.Augment(flip=True, crop_scale=0.5, rotate=15, color_jitter=0.3, erase=0.3)
nothing = torch.zeros(8, dtype=torch.int64)
# pictures, labels, and the number of each picture in its set
changed, _ = augment(batch, nothing, torch.arange(8), seed=0, epoch=1, num_classes=1)
fl.image_grid(list(changed))
assert changed.dtype == torch.uint8 and changed.shape == batch.shape
assert not torch.equal(changed[0], changed[1])

# %% Randomness depends only on the seed, the epoch, and the picture
again, _ = augment(
    batch[:3], nothing[:3], torch.arange(3), seed=0, epoch=1, num_classes=1
)
assert torch.equal(again, changed[:3])  # a different batch, but the same pictures

next_epoch, _ = augment(
    batch[:3], nothing[:3], torch.arange(3), seed=0, epoch=2, num_classes=1
)
assert not torch.equal(next_epoch, changed[:3])  # another epoch, another version

# %% Much the same with torchvision, one picture at a time
# Figure: four more versions of the same photograph, cut, turned, and mirrored.
train_transform = v2.Compose(
    [
        v2.RandomRotation(15),
        v2.RandomResizedCrop((142, 213), scale=(0.5, 1.0)),
        v2.RandomHorizontalFlip(),
    ]
)
fl.image_grid([np.asarray(train_transform(Image.fromarray(photo))) for _ in range(4)])

# %% [markdown]
# By default, `RandomResizedCrop` may show as little as 8% of a picture. If the object
# is small, that is often just background. Look at what your network will see, as you
# just did.

# %% [markdown]
# ## Broken files
#
# In a real set of ten thousand pictures, some files are cut off, some are empty, some
# are web pages that were saved under a picture's name, and some are JPEGs called
# `.png`. The last kind is harmless. The usual loader only notices the others when it
# gets to them, perhaps in the middle of the night:

# %% Break some files
broken_root = root.parent / "broken"
shutil.copytree(root, broken_root)
victims = sorted(sorted(broken_root.iterdir())[0].iterdir())
victims[0].write_bytes(victims[0].read_bytes()[:60])  # cut off
victims[1].write_bytes(b"")
victims[2].write_text("<html>404 not found</html>")
victims[3].rename(victims[3].with_suffix(".png"))  # only the wrong suffix

plain = datasets.ImageFolder(broken_root, transform=transform)
try:
    for _ in DataLoader(plain, batch_size=32):
        pass
except OSError as error:
    print(type(error).__name__ + ":", str(error)[:60], "...")
else:
    raise AssertionError("three of these files cannot be read")

# %% The library finds them before training
report = fl.check(fl.load_data(broken_root)).to_json()
for item in report["quarantined"]:
    print(f"{item['image']}: {item['reason']}")
print(report["notes"])
assert len(report["quarantined"]) == 3

# %% [markdown]
# When you train, these pictures are set aside and listed in `quarantine.csv`. They are
# never replaced by other pictures, and no file is changed. If more than 1% of the
# pictures cannot be used, the run stops, because something is probably wrong that you
# should know about first.

# %% With too many broken files, training stops
for victim in victims[4:12]:
    victim.write_bytes(b"")
try:
    fl.train(broken_root, model="mlp", epochs=1)
except fl.UserError as error:
    print(error)
else:
    raise AssertionError("too many broken pictures should stop a run")

# %% [markdown]
# ## Leaks
#
# If the same picture is used for training and for testing, the test measures memory.
# Copies are rarely identical byte for byte, because they were resized or saved again.
# Let us add some copies of this kind:

# %% Add copies
leaky_root = root.parent / "leaky"
shutil.copytree(root, leaky_root)
rng = random.Random(0)
for file in rng.sample(sorted(leaky_root.rglob("*.jpg")), 60):
    with Image.open(file) as image:
        larger = image.resize([length * 3 // 2 for length in image.size])
    larger.save(file.with_name(f"again_{file.name}"), quality=90)

# %% A random split separates them
names = [path.relative_to(leaky_root).as_posix() for path in leaky_root.rglob("*.jpg")]
names.sort()
rng.shuffle(names)
test, train = set(names[:132]), set(names[132:])


def original(name):
    """Return the name of the file that this one is a copy of."""
    return name.replace("again_", "")


leaked = {
    name for name in test if any(original(name) == original(other) for other in train)
}
print(
    f"{len(leaked)} of {len(test)} test pictures have a copy among the training "
    "pictures"
)
assert len(leaked) > 5

# %% The library keeps them together
leaky = fl.load_data(leaky_root)
dataset = fl.open_dataset(leaky, fl.DataRecipe())
split_of = {}
for split in ("train", "valid", "test"):
    for row in dataset.split.rows(split):
        split_of[leaky.names[row]] = split
separated = [
    name
    for name in split_of
    if "again_" in name and split_of[name] != split_of[original(name)]
]
duplicates = dataset.store.duplicates
groups = [
    {leaky.names[row] for row in group} for group in duplicates.exact + duplicates.near
]
copies = {
    name
    for group in groups
    for name in group
    if "again_" in name and original(name) in group
}
print(
    f"{len(copies)} of 60 copies found; {len(separated)} of the 60 are not in "
    "the same split as their originals"
)
assert len(copies) >= 55 and not copies & set(separated)

# %% [markdown]
# Ten photographs of one person, or twenty frames of one video, are another kind of
# leak. Use `group_by` to say which pictures belong together: by folder, or by a regular
# expression on the name. A list can have a `group` column instead.

# %% [markdown]
# ## Wrong labels
#
# In most real sets, a few pictures in a hundred have the wrong label. A network that
# never saw a picture can point at them: if it says something else than the label, and
# is sure of it, look at the picture. So divide the set into folds, and let each fold be
# judged by a model that was trained on the others.
#
# To see how well this works, we make mistakes ourselves: 30 files go to a wrong folder.
# We also put one picture into two classes at once.

# %% Plant wrong labels
mislabeled_root = root.parent / "mislabeled"
shutil.copytree(root, mislabeled_root)
rng = random.Random(1)
planted = {}  # each new name, and the class that the picture shows
for file in rng.sample(sorted(mislabeled_root.rglob("*.jpg")), 30):
    shown = file.parent.name
    wrong = rng.choice([name for name in data.classes if name != shown])
    planted[f"{wrong}/{file.name}"] = shown
    file.rename(mislabeled_root / wrong / file.name)

twice = next(
    file
    for file in sorted((mislabeled_root / data.classes[0]).iterdir())
    if f"{data.classes[0]}/{file.name}" not in planted
)
shutil.copy(twice, mislabeled_root / data.classes[1] / f"also_{twice.name}")
mislabeled = fl.load_data(mislabeled_root)

# %% Suspects by hand
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

tiny = np.stack(
    [
        np.asarray(Image.open(mislabeled_root / name).convert("L").resize((16, 16)))
        for name in mislabeled.names
    ]
)
said = cross_val_predict(
    LogisticRegression(C=0.1, max_iter=300),
    tiny.reshape(len(tiny), -1) / 255,
    mislabeled.labels,
    cv=5,
    method="predict_proba",
)
of_label = said[np.arange(len(said)), mislabeled.labels]
by_hand = [mislabeled.names[row] for row in of_label.argsort()[:30]]
print(f"from tiny gray pictures: {len(planted.keys() & {*by_hand})} of the 30 planted")
print(f"by chance: {30 * 30 / len(mislabeled):.1f}")
assert np.allclose(said.sum(axis=1), 1)

# %% [markdown]
# Tiny gray pictures are enough to judge digits. They say almost nothing about
# photographs. The library does the same with better features: those of a pretrained
# network for photographs (chapter 9), and filters made of the pictures themselves for
# small ones. It also asks the nearest neighbors, and learns which classes are mixed up
# most. Suspects are ranked. Where the evidence is strong, they are *flagged*.

# %% Suspects by the library
found = fl.check(mislabeled, labels=True).to_json()
suspects = found["suspects"]
for suspect in suspects[:3]:
    print(
        f"{suspect['image']} looks like {suspect['suggested']}; "
        f"planted: {suspect['image'] in planted}"
    )
ranked = [suspect["image"] for suspect in suspects]
flagged = {suspect["image"] for suspect in suspects if suspect["flagged"]}
hits = len(planted.keys() & flagged)
print(f"{len(planted.keys() & {*ranked[:30]})} of the 30 planted are in the first 30")
print(f"{len(flagged)} flagged, {hits} of them planted")
print("two labels on one picture:", found["conflicts"])
assert len(planted.keys() & {*ranked[:30]}) > 9
assert [len(names) for names in found["conflicts"]] == [2]

# %% The first suspects
# Figure: eight pictures that are suspected of a wrong label. Above each are its label
# and the class that it looks like.
fl.image_grid(
    [
        Image.open(mislabeled_root / name).convert("RGB").resize((96, 96))
        for name in ranked[:8]
    ],
    [f"{one['label']}?\nlooks like {one['suggested']}" for one in suspects[:8]],
)

# %% [markdown]
# A suspect is not proof, so a person decides. Some pictures that were not planted are
# suspects, too: a few are hard to recognize, and in a real set some labels are wrong.
# The report of every run (chapter 9) shows suspects with buttons, and writes your
# decisions to `corrections.csv`. Here we write the file ourselves, because we know the
# truth.

# %% Correct without touching a file
corrections = root.parent / "corrections.csv"
lines = [
    f"{name},{planted[name]},relabel" if name in planted else f"{name},,keep"
    for name in ranked[:30]
]
corrections.write_text("\n".join(["image,label,action", *lines]) + "\n")

choices = fl.DataRecipe(corrections=str(corrections))
corrected = fl.open_dataset(mislabeled, choices).samples
changed = np.flatnonzero(corrected.labels != mislabeled.labels)
print(f"{len(changed)} labels corrected")
right = [
    corrected.classes[corrected.labels[row]] == planted[mislabeled.names[row]]
    for row in changed
]
assert all(right) and len(right) > 3
assert sorted(path.name for path in mislabeled_root.rglob("*.jpg")) == sorted(
    Path(name).name for name in corrected.names
)  # every file is where it was

# %% [markdown]
# `fl.train(folder, corrections="corrections.csv")` trains on the corrected labels. The
# test split is left alone, unless you ask: if you only correct the labels that the
# model disagrees with, its test score improves by itself.
#
# ## Shortcuts
#
# A network learns whatever tells the classes apart, also what has nothing to do with
# them. If all pictures of one class come from one camera, with its date in the corner,
# it learns the date. The test score is high, since the test pictures have dates, too.
# `check` looks for such **shortcuts**: does the border or a corner tell the class
# better than the part just inside it? Do size, compression, or the camera?

# %% A frame around one class
framed_root = root.parent / "framed"
shutil.copytree(root, framed_root)
from PIL import ImageDraw

framed_class = max(data.classes, key=lambda name: len(list((root / name).iterdir())))
for file in sorted((framed_root / framed_class).iterdir()):
    image = Image.open(file)
    image.load()
    edges = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(image).rectangle(edges, outline="gray", width=max(image.size) // 32)
    image.save(file, quality=95)

for name, folder in (("as they are", root), ("framed", framed_root)):
    shortcuts = fl.check(fl.load_data(folder)).to_json()["shortcuts"]
    print(f"{name}: {len(shortcuts)} possible shortcuts")
    for one in shortcuts:
        about = "all classes" if one["label"] is None else f"class {one['label']}"
        print(
            f"  {one['cue']}, {about}: tells {one['baseline'] + one['gain']:.0%}, "
            f"where {one['baseline']:.0%} would be expected"
        )
assert any(one["cue"] == "border" for one in shortcuts)

# %% [markdown]
# Not every alarm is a fault of the set. If the objects fill the pictures, a corner
# shows part of an object; if all hats were photographed from close up, their size is
# real, but it will not be the same for the next photographer. `check` says what it saw.
# What it means, only you can know.

# %% [markdown]
# ## Batches, workers, speed
#
# A `DataLoader` fetches one picture at a time, decodes each one again in every epoch,
# and stacks them. It can use *workers*: more processes that fetch ahead. (On Windows
# and macOS, and on Linux from Python 3.14 on, a script with workers has to start its
# work under `if __name__ == "__main__":`, and workers cannot see a `Dataset` that was
# defined in a notebook cell.)
#
# firstlight decodes every picture once, keeps all of them as one uint8 array on disk,
# and takes a whole batch out of it at once. The first pass takes about as long as one
# epoch with a `DataLoader`. Every later epoch takes almost no time.

# %% An epoch of loading, both ways
clean = fl.load_data(root)
os.environ["FIRSTLIGHT_CACHE"] = str(root.parent / "cache")  # an empty folder
started = time.perf_counter()
dataset = fl.open_dataset(clean, fl.DataRecipe(img_size=64))
seconds_to_pack = time.perf_counter() - started
fast = dataset.loader("all", batch_size=32, seed=0)
slow = DataLoader(
    datasets.ImageFolder(root, transform=transform), batch_size=32, shuffle=True
)


def seconds(batches):
    """Time one pass over batches."""
    started = time.perf_counter()
    count = sum(
        len(batch[1]) if isinstance(batch, list) else len(batch.labels)
        for batch in batches
    )
    assert count == len(clean)
    return time.perf_counter() - started


times = [(seconds(slow), seconds(fast.epoch(epoch))) for epoch in range(3)]
ratio = float(np.median([a / b for a, b in times]))
print(f"decoding once, and searching for copies: {seconds_to_pack:.2f} s")
print(
    f"an epoch of {len(clean)} pictures: {times[-1][0]:.3f} s and "
    f"{times[-1][1]:.4f} s, a ratio of {ratio:.0f}"
)
# the DataLoader also resizes each picture again in every epoch
assert ratio > 1

# %% [markdown]
# ## Training on the folder
#
# `fl.train` takes the folder as it is. We use a narrow convolutional network (chapter
# 5), which takes a few seconds. From a few hundred photographs, no network learns much
# when it starts from nothing; chapter 9 shows what does.

# %% Train on a folder
run = fl.train(root, model="cnn", width=8, epochs=10)
print(run.test.accuracy)
prediction = fl.predict(run.model, sorted(root.rglob("*.jpg"))[0])
print(prediction.label, f"{prediction.probability:.2f}")
assert prediction.label in data.classes

# %% A picture file and the model's answer
# Figure: a test picture, and bars for the most probable classes.
fl.view_classify(root / data.names[run.data.split.test[0]], run.model)

# %% [markdown]
# ## Exercises
#
# **1.** Compute the mean and the standard deviation of all pixels in the folder, in
# gray, without holding all pictures in memory at once. Compare the result with a
# computation on all of them together.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
count = total = total_of_squares = 0
grays = [np.asarray(Image.open(file).convert("L")) for file in root.rglob("*.jpg")]
for gray in grays:  # one picture at a time
    values = gray.astype(np.float64) / 255
    count, total, total_of_squares = (
        count + values.size,
        total + values.sum(),
        total_of_squares + (values**2).sum(),
    )
mean = total / count
deviation = (total_of_squares / count - mean**2) ** 0.5
print(f"mean {mean:.4f}, deviation {deviation:.4f}")
together = np.concatenate([gray.ravel() for gray in grays]) / 255
assert np.isclose(mean, together.mean()) and np.isclose(deviation, together.std())

# %% [markdown]
# **2.** How far can you rotate a digit before it becomes another one? Show a 6 of
# scikit-learn's digits at 0, 45, 90, 135, and 180 degrees.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
# Figure: a handwritten 6, turned five times. At 180 degrees, it is a 9.
digits = fl.load_data("digits")
row = int(np.flatnonzero(digits.labels == 6)[0])
six = Image.fromarray(digits.images.read(row).squeeze()).resize((32, 32))
angles = (0, 45, 90, 135, 180)
fl.image_grid(
    [np.asarray(six.rotate(angle)) for angle in angles],
    [f"{angle}°" for angle in angles],
    columns=5,
)

# %% [markdown]
# **3.** Train on the folder twice with the same seed: once on the pictures as they are,
# and once with pictures that are shifted by up to one pixel (`shift=1`). Compare the
# validation accuracies and their intervals. `score_test=False` leaves the test split
# alone.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
still, shifted = (
    fl.train(
        root, model="mlp", img_size=32, epochs=10, shift=shift, score_test=False
    ).valid.accuracy
    for shift in (0, 1)
)
print(f"as they are: {still}\nshifted:     {shifted}")
undecided = max(still.low, shifted.low) <= min(still.high, shifted.high)
print(
    "There are too few pictures to tell."
    if undecided
    else f"{still.n} pictures are enough to see the difference."
)
assert still.n == shifted.n
