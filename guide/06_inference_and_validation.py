# %% [markdown]
# # 6. Inference and validation
#
# **By the end of this chapter**, you can use a network without training it by accident,
# recognize overfitting and fight it with dropout and early stopping, compute accuracy,
# precision, recall, F1, and top-k by hand, put an interval around each of them, tell a
# calibration error from chance, give a set of possible classes instead of one answer,
# find out which of two networks is better, explain why the test split is locked, and
# cross-validate a small set.
#
# This chapter uses scikit-learn's digits on purpose: with few pictures, overfitting and
# uncertainty are easy to see.

# %% The three splits
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional

import firstlight as fl

torch.manual_seed(0)
data = fl.load_data("digits")
stack = torch.from_numpy(data.images.images).permute(0, 3, 1, 2)
images = (stack.float() / 255 - 0.5) / 0.5
labels = torch.from_numpy(data.labels)
classes = data.classes

order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, valid, test = order[:200], order[200:800], order[800:]  # very few to learn from
print(f"{len(train)} to train on, {len(valid)} to choose by, {len(test)} to test on")

# %% [markdown]
# ## Overfitting, on purpose
#
# A large network that is trained on few pictures for many epochs memorizes them. The
# training loss goes to zero. The loss on pictures that the network has not seen goes
# down, stops, and rises again.


# %% Train too long and watch
# Figure: two curves over the epochs, on a logarithmic scale. The training loss keeps
# falling. The validation loss falls, reaches its lowest point at a dashed line, and
# then rises.
def mlp(dropout):
    """Return a network with two wide layers, and dropout after each."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(256, len(classes)),
    )


@torch.no_grad()
def score(network, rows):
    """Return loss and accuracy in evaluation mode; then go back to training."""
    network.eval()
    logits = network(images[rows])
    network.train()
    loss = functional.cross_entropy(logits, labels[rows]).item()
    return loss, (logits.argmax(dim=1) == labels[rows]).float().mean().item()


def train_long(network, epochs=120):
    """Train; return training loss, validation loss and accuracy per epoch."""
    optimizer = optim.Adam(network.parameters(), lr=2e-3)
    rng = torch.Generator().manual_seed(1)
    rows = []
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train), generator=rng)].split(50):
            optimizer.zero_grad()
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        rows.append((score(network, train)[0], *score(network, valid)))
    return np.array(rows)


torch.manual_seed(0)
overfitted = mlp(dropout=0.0)
plain = train_long(overfitted)
turn = int(plain[:, 1].argmin())

plt.figure(figsize=(6, 2.8), layout="constrained")
plt.semilogy(plain[:, 0], label="training")
plt.semilogy(plain[:, 1], label="validation")
plt.axvline(turn, color="gray", linestyle="--", linewidth=1)
plt.xlabel("epoch")
plt.ylabel("loss")
plt.legend()
print(f"training loss ends at {plain[-1, 0]:.5f}")
print(
    f"validation loss was lowest, {plain[turn, 1]:.3f}, in epoch {turn + 1}, and "
    f"ends at {plain[-1, 1]:.3f}"
)
assert plain[-1, 0] < 0.01 and plain[-1, 1] > 1.05 * plain[turn, 1]

# %% [markdown]
# ## Dropout, and why `eval()` exists
#
# Dropout sets a random selection of the units to zero at every training step, so that
# no unit can rely on another. It scales the other units up, so the mean stays the same.
# When you *use* the network, no unit should be set to zero. That is what `eval()` is
# for.

# %% Dropout in training and in evaluation
layer = nn.Dropout(0.5)
x = torch.ones(10_000)

layer.train()
dropped = layer(x)
print(
    f"in training: {(dropped == 0).float().mean():.2f} zeroed, mean "
    f"{dropped.mean():.2f}"
)
assert (
    set(dropped.unique().tolist()) == {0.0, 2.0}
    and abs(dropped.mean().item() - 1) < 0.1
)

layer.eval()
assert torch.equal(layer(x), x)

# %% [markdown]
# **Batch normalization** also depends on the mode. For each unit, it subtracts the mean
# over the batch and divides by the standard deviation. So during training, the answer
# for a picture depends on the other pictures in its batch. It also keeps running
# averages of both, and in evaluation mode it uses those.

# %% Batch normalization in training and in evaluation
norm = nn.BatchNorm1d(3)
batch = torch.randn(8, 3)
# a different batch gives a different answer
assert not torch.allclose(norm(batch)[:2], norm(batch[:2]))
norm.eval()
assert torch.equal(norm(batch)[:2], norm(batch[:2]))

# %% Forgetting eval() makes answers worse, and random
torch.manual_seed(0)
network = mlp(dropout=0.5)
dropped_out = train_long(network)

network.train()
with torch.no_grad():
    first, second = network(images[valid]), network(images[valid])
forgotten = (first.argmax(dim=1) == labels[valid]).float().mean().item()
print(
    f"accuracy {forgotten:.3f} without eval(), {score(network, valid)[1]:.3f} with it"
)
assert not torch.equal(first, second)  # the same pictures, two answers
assert score(network, valid)[1] > forgotten

# %% What dropout does here
print(
    f"lowest validation loss: {plain[:, 1].min():.3f} without dropout, "
    f"{dropped_out[:, 1].min():.3f} with it"
)
print(
    f"final validation loss:  {plain[-1, 1]:.3f} without dropout, "
    f"{dropped_out[-1, 1]:.3f} with it"
)
assert dropped_out[10, 0] > plain[10, 0]  # it fits the training pictures more slowly

# %% [markdown]
# ## Without gradients
#
# Under `torch.no_grad()`, PyTorch records nothing. `torch.inference_mode()` is a little
# faster, but you cannot use its results in training. `eval()` is something else: it
# changes what layers *do*, and PyTorch still records as before. When you use a network,
# you want both.

# %% eval() and no_grad() are two things
network.eval()
assert network(images[:1]).requires_grad  # eval() alone still records
with torch.inference_mode():
    answer = network(images[:1])
assert not answer.requires_grad and answer.is_inference()

# %% [markdown]
# ## Early stopping
#
# Stop when the validation loss has not improved for a certain number of epochs, the
# *patience*, and go back to the best epoch. *Copy* the weights of the best epoch:
# `state_dict()`, the dictionary of all weights, changes as training goes on (chapter
# 7).

# %% Early stopping by hand
torch.manual_seed(0)
network = mlp(dropout=0.2)
optimizer = optim.Adam(network.parameters(), lr=2e-3)
patience, best_loss, best_epoch = 10, float("inf"), 0
for epoch in range(1, 201):
    for batch in train[torch.randperm(len(train))].split(50):
        optimizer.zero_grad()
        functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
    loss, _ = score(network, valid)
    if loss < best_loss:
        best_loss, best_epoch, best_weights = (
            loss,
            epoch,
            copy.deepcopy(network.state_dict()),
        )
    if epoch - best_epoch >= patience:
        break
network.load_state_dict(best_weights)
print(f"stopped after epoch {epoch}, went back to epoch {best_epoch}")
assert np.isclose(score(network, valid)[0], best_loss)
network.eval()

# %% [markdown]
# firstlight always keeps the best epoch by validation. `fl.train(data, patience=10,
# schedule="constant")` also stops early. (By default, the learning rate falls to zero
# at the last epoch, and a run that stops early never gets there.)
#
# `score` above takes all pictures at once. If a set does not fit into memory, score it
# batch by batch, and weight each batch by its size. `validate` below also switches back
# to training mode at the end. If you forget that, dropout stays off for the rest of the
# training.


# %% Validation in batches
@torch.no_grad()
def validate(network, loader):
    """Return mean loss and accuracy over all pictures of a loader."""
    network.eval()
    loss = right = 0
    for batch_images, batch_labels in loader:
        logits = network(batch_images)
        loss += functional.cross_entropy(logits, batch_labels, reduction="sum").item()
        right += (logits.argmax(dim=1) == batch_labels).sum().item()
    network.train()
    return loss / len(loader.dataset), right / len(loader.dataset)


validloader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(images[valid], labels[valid]), batch_size=64
)
assert np.allclose(validate(network, validloader), score(network, valid), atol=1e-5)
network.eval()

# %% [markdown]
# ## The scores
#
# From here on, we only need the logits of the validation pictures and their labels.

# %% Accuracy and the confusion matrix
# Figure: a confusion matrix of the ten digits. Most of the validation pictures are on
# the diagonal.
with torch.inference_mode():
    logits = network(images[valid])
wanted, said = labels[valid], logits.argmax(dim=1)

confusion = torch.zeros(10, 10, dtype=torch.int64)
# one row per true class, one column per answer
confusion.index_put_((wanted, said), torch.tensor(1), accumulate=True)

right = confusion.diagonal().sum().item()
print(f"accuracy {right} / {len(wanted)} = {right / len(wanted):.3f}")
fl.confusion_matrix(confusion, classes)

# %% [markdown]
# **Precision**: of all pictures that the network *calls* an 8, how many are 8s?
# **Recall**: of all pictures that *are* 8s, how many does it call an 8? Which one
# matters more depends on what each kind of mistake costs. **F1** is the harmonic mean
# of the two, which is closer to the smaller one. The **macro** mean gives every class
# the same weight, however rare it is.

# %% Precision, recall and F1 by hand
hits = confusion.diagonal().double()
precision = hits / confusion.sum(dim=0)
recall = hits / confusion.sum(dim=1)
f1 = 2 * precision * recall / (precision + recall)
print("class  precision  recall  F1")
for row in zip(classes, precision, recall, f1, strict=True):
    print(f"{row[0]:>5}  {row[1]:9.3f}  {row[2]:6.3f}  {row[3]:.3f}")

from sklearn.metrics import precision_recall_fscore_support  # to check ours against

expected = precision_recall_fscore_support(wanted, said)
for mine, theirs in zip((precision, recall, f1), expected, strict=False):
    assert np.allclose(mine, theirs)

# %% [markdown]
# **Top-k** counts an answer as right if the true class is among the `k` highest logits.
# This is useful when classes overlap.

# %% Top-k
top3 = (
    (logits.topk(3, dim=1).indices == wanted[:, None]).any(dim=1).float().mean().item()
)
print(f"top-1 {right / len(wanted):.3f}, top-3 {top3:.3f}")
assert top3 >= right / len(wanted)

# %% [markdown]
# ## How certain is the score?
#
# These 600 pictures are a sample, and another 600 would have given a different
# accuracy. **Wilson's interval** covers the true accuracies that are compatible with
# what you saw. It also works near 1, where the textbook formula, p ± 1.96 √(p(1-p)/n),
# goes above 1.


# %% Wilson's interval by hand
def wilson(hits, n, z=1.96):
    """Return the ends of the 95% interval of a proportion."""
    p = hits / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return middle - half, middle + half


low, high = wilson(right, len(wanted))
print(f"accuracy {right / len(wanted):.3f} [{low:.3f}, {high:.3f}], n = {len(wanted)}")

# %% Does the interval work?
rng = np.random.default_rng(0)
true_accuracy, n = 0.95, 600
draws = rng.binomial(n, true_accuracy, size=4000)
ends = np.array([wilson(hits, n) for hits in draws])
covered = np.mean((ends[:, 0] <= true_accuracy) & (true_accuracy <= ends[:, 1]))
print(f"{covered:.1%} of 4,000 intervals contain the true accuracy")
assert abs(covered - 0.95) < 0.02

# %% [markdown]
# ## The same with the library
#
# One function computes all of this from logits and labels, with an interval for every
# score:

# %% The evaluation
evaluation = fl.evaluate_logits(logits, wanted, classes)
print(evaluation)
assert np.isclose(evaluation.accuracy.value, right / len(wanted))
assert np.isclose(evaluation.accuracy.low, low, atol=1e-4) and np.isclose(
    evaluation.accuracy.high, high, atol=1e-4
)
assert np.isclose(evaluation.macro_f1.value, f1.mean().item())

# %% [markdown]
# **Log loss** is the cross entropy of chapter 4. **AUC** compares a picture of a class
# with a picture of another class: how often does the first one get the higher
# probability for that class? **ECE**, the expected calibration error, measures how far
# the network's confidence is from the truth: of all answers with a confidence of 0.9,
# nine out of ten should be right. Networks that were trained for a long time are
# usually overconfident. With few pictures, even a perfectly calibrated network shows an
# error, so its line says how large that would be by chance. Dividing all logits by a
# single number, the **temperature**, corrects much of this and does not change any
# answer. Here we fit it on some of the validation pictures and test it on the others.

# %% A temperature
with torch.inference_mode():
    too_sure = overfitted.eval()(images[valid])  # the network that we trained too long
candidates = torch.linspace(0.5, 5, 91)
losses = torch.stack(
    [functional.cross_entropy(too_sure[:300] / t, wanted[:300]) for t in candidates]
)
temperature = candidates[losses.argmin()].item()
before = fl.evaluate_logits(too_sure[300:], wanted[300:], classes)
after = fl.evaluate_logits(
    too_sure[300:], wanted[300:], classes, temperature=temperature
)
print(
    f"temperature {temperature:.2f}: log loss {before.log_loss.value:.3f} becomes "
    f"{after.log_loss.value:.3f}"
)
assert temperature > 1  # it was overconfident
assert after.log_loss.value < before.log_loss.value
assert after.accuracy.value == before.accuracy.value

# %% [markdown]
# ## Calibration and chance
#
# To compute the calibration error, put the answers into bins of about the same
# confidence, and average how far the confidence of a bin is from its accuracy. These
# are distances, so chance does not cancel out. How much of the error is chance? Draw
# answers that are right exactly as often as their confidence says, and compute the
# error of those, many times. **p** is how often these draws show at least the error
# that you saw.


# %% What chance alone would show
def calibration_error(confidence, correct, bins=15):
    """Return how far confidence is from accuracy, on average over the answers."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return np.abs(np.bincount(bin_of, confidence - correct)).sum() / len(correct)


rng = np.random.default_rng(0)
correct = (too_sure[300:].argmax(dim=1) == wanted[300:]).numpy()
p_values = []
for name, divisor in (("as trained", 1.0), ("with a temperature", temperature)):
    confidence = torch.softmax(too_sure[300:].double() / divisor, dim=1).amax(dim=1)
    confidence = confidence.numpy()
    error = calibration_error(confidence, correct)
    chance = np.array(
        [
            calibration_error(confidence, rng.random(len(correct)) < confidence)
            for _ in range(500)
        ]
    )
    p_values.append((1 + (chance >= error).sum()) / (1 + len(chance)))
    print(
        f"{name:18}  error {error:.3f}, by chance alone {chance.mean():.3f}, "
        f"p = {p_values[-1]:.3f}"
    )
assert chance.mean() > 0.005  # a perfectly calibrated network shows an error
assert p_values[0] < p_values[1]
assert np.isclose(error, after.calibration.ece, atol=1e-3)
assert np.isclose(chance.mean(), after.calibration.perfect, atol=3e-3)
print(after.calibration.sentence)

# %% [markdown]
# ## A set instead of one answer
#
# A network always answers, also when it hesitates between two classes. A **prediction
# set** says which classes remain possible: all those whose probability is high enough.
# How high? Take pictures that the network did not learn from, and look at the
# probability that it gives to their *right* classes. Choose the limit such that the
# sets of, say, 98% of these pictures hold the right class.
#
# The new picture counts as one more. If it is like the others, it is as likely to be
# the worst of all `n + 1` as any of them. So take the `k`-th smallest value, where `k`
# is `(n + 1) * 0.98`, rounded up. Then the promise holds on average, whatever the
# network is, however few pictures there are. It only assumes that new pictures are like
# those that you chose the limit by.


# %% Prediction sets by hand
def limit_of(misses, coverage):
    """Return the limit for 1 - the probability of a class that stays possible."""
    k = int(np.ceil((len(misses) + 1) * coverage))
    return np.sort(misses)[k - 1] if k <= len(misses) else 1.0


coverage = 0.98  # this network is right more than nine times in ten without any set
probabilities = torch.softmax(too_sure.double() / temperature, dim=1).numpy()
truth = wanted.numpy()
misses = 1 - probabilities[np.arange(len(truth)), truth]
limit = limit_of(misses[:300], coverage)
sets = 1 - probabilities[300:] <= limit
held = sets[np.arange(300), truth[300:]]
print(f"a class stays possible if its probability is at least {1 - limit:.3f}")
for size in range(sets.sum(axis=1).max() + 1):
    print(f"{(sets.sum(axis=1) == size).sum():3} pictures have {size} possible classes")
print(
    f"{held.mean():.3f} of the sets hold the right class; {correct.mean():.3f} of the "
    "single answers are right"
)
of_class = [held[truth[300:] == label].mean() for label in range(len(classes))]
worst = int(np.argmin(of_class))
print(f"covered least: class {classes[worst]}, {of_class[worst]:.3f} of its pictures")

# with other halves of the same pictures, again and again
covered = []
for _ in range(200):
    shuffled = rng.permutation(misses)
    covered.append((shuffled[300:] <= limit_of(shuffled[:300], coverage)).mean())
print(f"mean over 200 other halves: {np.mean(covered):.3f}")
assert abs(np.mean(covered) - coverage) < 0.01
assert of_class[worst] < held.mean()

# %% Pictures with two possible classes
# Figure: four handwritten digits that are hard to read. Above each are its class and
# the classes that remain possible.
doubtful = np.flatnonzero(sets.sum(axis=1) > 1)[:4]
fl.image_grid(
    [stack[valid[300 + row]] for row in doubtful],
    [
        f"{classes[truth[300 + row]]}: "
        + " or ".join(classes[k] for k in np.flatnonzero(sets[row]))
        for row in doubtful
    ],
    columns=4,
)
assert len(doubtful) == 4

# %% [markdown]
# The promise is about *all* pictures together, not about the pictures of every class.
# Look at the classes one by one before you rely on the sets for one of them. (With few
# pictures of a class, its own figure is uncertain, too.)
#
# With the library, every run finds the limit on its validation pictures, for a coverage
# of nine in ten, and keeps it in the model file. `predict` calls an answer **unsure**
# if more than one class remains possible, and says which. `accept=0.99` asks for a
# probability instead. An answer is also unsure if the picture is unlike anything in
# training; chapter 9 comes back to that.

# %% Sets and doubt with the library
splits = {
    "train": (stack[train], labels[train]),
    "valid": (stack[valid], labels[valid]),
    "test": (stack[test], labels[test]),
}
choices = {"model": "mlp", "epochs": 30, "score_test": False}
narrow = fl.train(splits, hidden=(8,), **choices)  # eight hidden units: it hesitates
answers = fl.predict(narrow.model, list(stack[valid]))
unsure = [answer for answer in answers if answer.unsure]
for answer in [answer for answer in unsure if len(answer.set) > 1][:3]:
    print(f"{answer.label}, {answer.probability:.2f}: {answer.reason}")
in_set = np.mean([classes[k] in a.set for k, a in zip(truth, answers, strict=True)])
right_if_sure = np.mean(
    [a.label == classes[k] for k, a in zip(truth, answers, strict=True) if not a.unsure]
)
print(f"{len(unsure)} of {len(answers)} answers are unsure")
print(
    f"right: {narrow.valid.accuracy.value:.3f} of all, {right_if_sure:.3f} of the sure"
)
assert in_set >= 0.9
assert right_if_sure > narrow.valid.accuracy.value
careful = fl.predict(narrow.model, list(stack[valid]), accept=0.99)
assert sum(answer.unsure for answer in careful) > len(unsure)

# %% [markdown]
# ## Which of two networks is better?
#
# The intervals of two networks often overlap, and still one of them can be better,
# because both answered the *same* pictures. Pictures that both get right, or both get
# wrong, say nothing about which one is better. Only look at those that one of them gets
# right. If the two were equally good, each would win about half of these. **McNemar's
# test** asks how unlikely your split is, if each picture is a coin toss.

# %% Count the pictures that only one of them gets right
from scipy.stats import binom

with torch.inference_mode():
    first = overfitted(images[valid]).argmax(dim=1) == wanted
    second = logits.argmax(dim=1) == wanted
wins = int((first & ~second).sum()), int((second & ~first).sum())


def mcnemar(a, b):
    """Return the mid-p value, in which the split that was seen counts half."""
    toss = binom(a + b, 0.5)
    return min(1.0, 2 * toss.cdf(min(a, b)) - toss.pmf(min(a, b)))


print(
    f"trained too long {first.float().mean():.3f}, stopped early "
    f"{second.float().mean():.3f}"
)
print(
    f"only the first is right: {wins[0]}, only the second: {wins[1]}, "
    f"p = {mcnemar(*wins):.3f}"
)
assert np.isclose(mcnemar(5, 5), 1.0) and mcnemar(10, 30) < 0.01

# %% The same with the library
wide = fl.train(splits, hidden=(256, 256), **choices)
compared = fl.compare(narrow, wide)
print(compared)
mine = mcnemar(compared.only_a, compared.only_b)
assert np.isclose(compared.p, mine) and compared.verdict == "b"

# the difference is known better than the two intervals suggest
narrow_accuracy, wide_accuracy = narrow.valid.accuracy, wide.valid.accuracy
apart = (
    wide_accuracy.high - narrow_accuracy.low,
    wide_accuracy.low - narrow_accuracy.high,
)
difference = compared.accuracy_difference
print(f"from the two intervals: {apart[1]:+.3f} to {apart[0]:+.3f}")
print(f"from the pairs:         {difference.low:+.3f} to {difference.high:+.3f}")
assert difference.high - difference.low < apart[0] - apart[1]

# %% [markdown]
# If the pictures cannot tell, `compare` says so, and how large a difference they would
# have shown. One more thing that no comparison of two trained networks can tell:
# whether it was the recipe or the seed. `fl.compare_recipes` trains both recipes with
# several seeds, and separates the two. On the command line, it is `firstlight compare`.

# %% [markdown]
# ## Why the test split is locked
#
# Choosing is a form of learning. Take 200 "models" that guess at random, score each on
# 50 test pictures, and keep the best one. Its score looks much better than chance, but
# the model knows nothing.

# %% Choosing by the test split inflates the score
rng = torch.Generator().manual_seed(0)
some = labels[test][:50]
guesses = torch.randint(0, 10, (200, 50), generator=rng)
scores = (guesses == some).float().mean(dim=1)
chosen = scores.argmax()
fresh = (
    (
        torch.randint(0, 10, (100_000,), generator=rng)
        == labels[test].repeat(101)[:100_000]
    )
    .float()
    .mean()
)
print(
    f"the best of 200 guessers: {scores[chosen]:.2f} on the pictures that chose it, "
    f"{fresh:.2f} on others"
)
assert scores[chosen] > 1.5 * fresh

# %% [markdown]
# That is why firstlight chooses by validation and scores the test split once per run.
# It counts every later `firstlight evaluate` on the test split, in `evaluation.json`.
# But no tool can count the choices that you make yourself: if you try twenty recipes
# and compare their test scores, you have used the test split twenty times. For the same
# reason, the validation score is slightly too good: it was used to choose.

# %% Now score the test split, once
with torch.inference_mode():
    final = fl.evaluate_logits(network(images[test]), labels[test], classes)
print("test accuracy", final.accuracy)

# %% [markdown]
# ## Cross-validation
#
# With few pictures, the score on a single validation split depends on luck. So divide
# everything except the test split into five folds. Train five times, each time on four
# of the folds, and score the network on the fifth. Each picture is then scored once, by
# a network that was not trained on it. (The five networks share training pictures, so
# an interval over all of them is only approximately right.)

# %% Five folds
pool = order[:800]
folds = pool.chunk(5)
answers = torch.empty(len(images), dtype=torch.int64)
per_fold = []
for number, held_out in enumerate(folds):
    rest = torch.cat([fold for other, fold in enumerate(folds) if other != number])
    torch.manual_seed(number)
    network = mlp(dropout=0.2)
    optimizer = optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(15):
        for batch in rest[torch.randperm(len(rest))].split(50):
            optimizer.zero_grad()
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        answers[held_out] = network(images[held_out]).argmax(dim=1)
    per_fold.append((answers[held_out] == labels[held_out]).float().mean().item())

hits = int((answers[pool] == labels[pool]).sum())
low, high = wilson(hits, len(pool))
print("fold by fold:", "  ".join(f"{score:.3f}" for score in per_fold))
print(f"all together: {hits / len(pool):.3f} [{low:.3f}, {high:.3f}], n = {len(pool)}")
assert sorted(torch.cat(folds).tolist()) == sorted(pool.tolist())
assert min(per_fold) - 1e-6 <= hits / len(pool) <= max(per_fold) + 1e-6

# %% [markdown]
# ## Exercises
#
# **1.** A network looks for a rare disease that 1% of people have. What are the
# accuracy, precision, and recall of a network that always says *healthy*? And of one
# that finds 90% of the sick people and gives a false alarm for 5% of the healthy
# ones?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
people, sick = 100_000, 1_000
print(f"always healthy: accuracy {1 - sick / people:.2f}, recall 0, no precision")
found, alarms = 0.9 * sick, 0.05 * (people - sick)
accuracy = (found + (people - sick) - alarms) / people
print(
    f"the other one: accuracy {accuracy:.3f}, recall {found / sick:.2f}, precision "
    f"{found / (found + alarms):.2f}"
)
assert accuracy < 1 - sick / people  # the useless one has the higher accuracy
# most of the people it calls sick are healthy
assert found / (found + alarms) < 0.2

# %% [markdown]
# **2.** One network is right 95% of the time, and another one 96%. How many test
# pictures do you need to tell them apart, if each has pictures of its own? Use
# `wilson`. Then train the wide network again with `dropout=0.5`, and compare both on
# the same pictures with `fl.compare`. What can these pictures tell?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
for n in (100, 1_000, 10_000, 100_000):
    (low95, high95), (low96, high96) = wilson(0.95 * n, n), wilson(0.96 * n, n)
    print(f"n = {n:>7,}: [{low95:.3f}, {high95:.3f}] and [{low96:.3f}, {high96:.3f}]")
assert wilson(950, 1_000)[1] > wilson(960, 1_000)[0]  # a thousand is far too few
assert wilson(9_500, 10_000)[1] < wilson(9_600, 10_000)[0]

# On the same pictures, fewer are enough. What would our 600 have shown?
dropped = fl.train(splits, hidden=(256, 256), dropout=0.5, **choices)
compared = fl.compare(wide, dropped)
print(compared.headline)
assert compared.detectable < 0.05
alone = [run.valid.accuracy.high - run.valid.accuracy.low for run in (wide, dropped)]
difference = compared.accuracy_difference
assert difference.high - difference.low < sum(alone)

# %% [markdown]
# **3.** Write top-k so that ties do not count as right answers: a network that gives
# all classes the same logit should not get a perfect score.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
undecided = torch.zeros(1000, 10)
truth = torch.randint(0, 10, (1000,))
own = undecided.gather(1, truth[:, None])
earlier = torch.arange(10) < truth[:, None]
# rank < k is top-k; here k = 1, and ties go to the class that comes first
rank = ((undecided > own) | ((undecided == own) & earlier)).sum(dim=1)
strict = (rank < 1).float().mean().item()
generous = (own[:, 0] >= undecided.max(dim=1).values).float().mean().item()
print(f"equal logits: {generous:.2f} if ties are hits, {strict:.2f} if not")
assert generous == 1 and strict < 0.2
assert np.isclose(strict, fl.evaluate_logits(undecided, truth, classes).accuracy.value)
