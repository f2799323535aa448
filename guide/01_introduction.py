# %% [markdown]
# # 1. Introduction
#
# **When you are through**, you can say what PyTorch is and what it does for you,
# install it, have it compute a derivative, and train, score, and use an image
# classifier in a few lines.
#
# You need Python and a little NumPy. You do not need to know PyTorch, you do not need a
# graphics card, and once everything is installed, you do not need the internet.

# %% [markdown]
# ## What PyTorch is
#
# PyTorch is a library for numerical computing that does two things well: its arrays,
# called **tensors**, work on processors and graphics cards alike, and it
# **differentiates** whatever you compute with them. `torch.nn` builds on both: it is a
# collection of building blocks for neural networks.
#
# A *neural network* is a function with many adjustable numbers, its **weights**.
# *Training* uses derivatives to adjust them until the network's answers match the
# examples. Computing an answer is the *forward pass*; computing the derivatives is the
# *backward pass*.
#
# PyTorch came out of Facebook's AI research lab in 2017, merged with Caffe2 a year
# later, and now belongs to the Linux Foundation. This guide grew out of a student's
# notes on Udacity's deep learning course; they recommend PyTorch's own [60-minute
# blitz](https://docs.pytorch.org/tutorials/beginner/deep_learning_60min_blitz.html).
# The license is BSD, so you can use PyTorch for anything. Most people use it from
# Python, where it feels like NumPy. Underneath, it is written in C++, which you can
# also use directly.

# %% [markdown]
# ## Installing it
#
# ```sh
# pip install torch torchvision     # a processor is enough for all nine chapters
# pip install 'firstlight[guide]'   # this library, which installs both as well
# ```
#
# > **Then and now.** The notes install with `conda install pytorch torchvision -c
# > pytorch`. That channel no longer gets new versions: use `pip`, or conda's community
# > channel, conda-forge.

# %% Which version is this, and what does it run on?
import torch

print(
    f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, CUDA: "
    f"{torch.cuda.is_available()}"
)

# %% [markdown]
# ## Autograd in one paragraph
#
# Set `requires_grad` on a tensor, and PyTorch records everything you compute with it.
# Call `backward` on the result, and PyTorch goes through that record from end to
# beginning, applying the chain rule. Afterward, each tensor that you marked holds in
# `.grad` the derivative of the result with respect to it. That is all that training
# needs, and you never write a derivative yourself.

# %% A derivative computed for you
x = torch.tensor(3.0, requires_grad=True)
y = x**2 + 2 * x
y.backward()

print(
    f"y = x² + 2x at x = {x.item():g} is {y.item():g}, and its slope there is "
    f"{x.grad.item():g}"
)
assert x.grad == 2 * x + 2  # the formula you learned in school

# %% [markdown]
# > **Then and now.** The notes say that derivatives are *computed* in the forward pass.
# > They are not: the forward pass *records* the operations, and the backward pass
# > computes the derivatives. Until you call `backward`, there is no gradient.

# %% What the record holds
z = x**2
assert z.grad_fn is not None  # z knows how it was made ...
print("z was made by", type(z.grad_fn).__name__)

with torch.no_grad():
    z = x**2
assert z.grad_fn is None  # ... unless you turn recording off

# %% [markdown]
# ## The tour
#
# Here is the whole guide in a few lines. The data is real: 1,797 handwritten digits of
# 8 x 8 pixels that come with scikit-learn. `train` splits them into pictures to learn
# from, pictures to choose by, and pictures to test on. It trains a small network, keeps
# the best epoch, and scores it once on the test pictures.

# %% A trained and scored classifier
import firstlight as fl

data = fl.load_data("digits")
run = fl.train(data, model="mlp")
print(run.test)

# %% [markdown]
# Chapter 6 explains all six numbers; the first one is the proportion of right answers.
# Every number comes with a 95 % interval, because other test digits would have given a
# different number. An accuracy without an interval does not tell you how reliable it
# is.

# %% The interval matters
accuracy = run.test.accuracy
assert accuracy.low < accuracy.value <= accuracy.high
# the model has learned something: guessing is right one time in ten
assert accuracy.low > 0.9
print(f"{accuracy.n} digits to test on, {1 - accuracy.value:.1%} of them misread")

# %% [markdown]
# Which digits does it mix up? Each row is the true digit, and each column is the
# model's answer.

# %% What it confuses
fl.confusion_matrix(run.test.confusion, run.model.classes)

# %% [markdown]
# And these are the mistakes it was most confident about. Look at them before you blame
# the model: some digits are hard to read.

# %% The most confident mistakes
if run.mistakes:
    rows = [mistake.row for mistake in run.mistakes[:8]]
    said = [
        f"{run.model.classes[m.label]}, read as {run.model.classes[m.predicted]}"
        for m in run.mistakes[:8]
    ]
    fl.image_grid([data.images.read(row) for row in rows], said)

# %% [markdown]
# The classifier is now a single file. It holds the weights and everything you need to
# use them: the names of the classes, the size of the pictures, and how they are
# normalized. Chapter 7 takes it apart.

# %% One file is the model
model = fl.load(run.folder / "model.safetensors")
print(model.summary())
assert model.classes == data.classes

# %% Ask it about a digit
row = int(run.data.split.test[0])  # a digit that it was not trained on
# a batch of one
image = torch.from_numpy(data.images.images[row : row + 1]).permute(0, 3, 1, 2)
probabilities = model.predict_proba(image)[0]
answer = model.classes[probabilities.argmax()]
print(
    f"it says {answer} and is {probabilities.max():.0%} sure; the digit is a "
    f"{data.classes[data.labels[row]]}"
)
assert abs(probabilities.sum() - 1) < 1e-5

# %% [markdown]
# You can do the same from the command line, with a named set or with a folder that has
# one subfolder per class:
#
# ```sh
# firstlight train digits --model mlp
# firstlight train ~/photos
# ```
#
# The next chapters build by hand what happens inside `train`: tensors (2), networks
# (3), training (4), a complete run on clothes (5), reliable scores (6), files (7),
# image data (8), and networks that have already been trained on a million pictures (9).

# %% [markdown]
# ## Exercises
#
# **1.** What is the slope of the sigmoid, 1 / (1 + e⁻ˣ), at 0, at 2, and at 10? Let
# PyTorch compute it, then compare with the formula `s * (1 - s)`. What does the last
# slope mean for a network that is very confident and wrong?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
x = torch.tensor([0.0, 2.0, 10.0], requires_grad=True)
s = 1 / (1 + torch.exp(-x))
s.sum().backward()  # the gradient of a sum is each x's own slope
print(x.grad)

assert torch.allclose(x.grad, s * (1 - s), atol=1e-6)
# where the sigmoid is flat, a network barely learns: one reason for ReLU (chapter 3)
assert x.grad[2] < 1e-4

# %% [markdown]
# **2.** Train with a different seed (`fl.train(data, model="mlp", seed=1)`). A
# different seed also splits the digits differently, so the two models were tested on
# different pictures. Do the two intervals overlap? Would you call one of the models
# better?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
other = fl.train(data, model="mlp", seed=1).test.accuracy
print(f"seed 0: {accuracy}\nseed 1: {other}")

overlap = max(accuracy.low, other.low) <= min(accuracy.high, other.high)
print(
    "They overlap: no evidence that either is better."
    if overlap
    else "They do not overlap: the split and the seed matter here."
)
# Testing both on the same pictures reveals smaller differences: chapter 6.

# %% [markdown]
# **3.** Which digit is most often read as which other one? Find the pair in
# `run.test.confusion` with PyTorch or NumPy.

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
confused = torch.tensor(run.test.confusion)
confused.fill_diagonal_(0)  # right answers do not count
true, said = divmod(int(confused.argmax()), len(run.model.classes))
if confused.sum():
    print(
        f"{run.model.classes[true]} is read as {run.model.classes[said]} most "
        f"often: {confused[true, said]} times"
    )

assert confused.sum() == accuracy.n - round(accuracy.value * accuracy.n)
