# %% [markdown]
# # 1. Introduction
#
# **When you are through**, you can say what PyTorch is and what it does for you,
# install it, let it compute a derivative, and train, score and ask an image classifier
# in a few lines.
#
# You need Python and a little NumPy. You need no knowledge of PyTorch, no graphics card
# and, once it is installed, no internet.

# %% [markdown]
# ## What PyTorch is
#
# PyTorch is a library for numerical computing with two talents: its arrays, called
# **tensors**, work on processors and on graphics cards alike, and it **differentiates**
# whatever you compute with them. On top of these stands `torch.nn`, a box of building
# blocks for neural networks.
#
# A *neural network* is a function with many adjustable numbers, its **weights**.
# *Training* adjusts them, with the help of derivatives, until its answers fit examples.
# Computing an answer is the *forward pass*, computing the derivatives the *backward
# pass*.
#
# PyTorch came out of Facebook's AI research lab in 2017, took in Caffe2 a year later,
# and belongs to the Linux Foundation today. The notes that this guide grew out of were
# taken in Udacity's deep learning course, and recommend PyTorch's own [60-minute
# blitz](https://docs.pytorch.org/tutorials/beginner/deep_learning_60min_blitz.html).
# Its license is BSD: free for any use. Most people use it from Python, where it feels
# like NumPy; underneath, and for whoever wants it, it is C++.

# %% [markdown]
# ## Installing it
#
# ```sh
# pip install torch torchvision     # a processor is enough for all nine chapters
# pip install 'firstlight[guide]'   # this library, which brings both along
# ```
#
# > **Then and now.** The notes install with `conda install pytorch torchvision -c
# > pytorch`. That channel gets no new versions any more: today it is `pip`, or conda's
# > own community channel, conda-forge.

# %% Which version is this, and on what does it run?
import torch

print(
    f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, CUDA: "
    f"{torch.cuda.is_available()}"
)

# %% [markdown]
# ## Autograd in one paragraph
#
# Tell a tensor that it `requires_grad`, and PyTorch writes down what you do with it.
# Ask the result to go `backward`, and the record is read from the end to the beginning
# by the chain rule: every tensor that you marked then holds, in `.grad`, the derivative
# of the result with respect to it. That is all that training needs, and you never write
# a derivative yourself.

# %% A derivative that nobody wrote
x = torch.tensor(3.0, requires_grad=True)
y = x**2 + 2 * x
y.backward()

print(
    f"y = x² + 2x at x = {x.item():g} is {y.item():g}, and its slope there is "
    f"{x.grad.item():g}"
)
assert x.grad == 2 * x + 2  # what school says

# %% [markdown]
# > **Then and now.** The notes say that derivatives are *computed* in the forward pass.
# > They are not: the forward pass *records* what is done, and the backward pass
# > computes. Until you call `backward`, there is no gradient.

# %% What stands in the record
z = x**2
assert z.grad_fn is not None  # z knows how it came about ...
print("z was made by", type(z.grad_fn).__name__)

with torch.no_grad():
    z = x**2
assert z.grad_fn is None  # ... unless you say that you will not ask

# %% [markdown]
# ## The tour
#
# Here is what this guide is about, from one end to the other, in a few lines. The data
# are real: 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn. `fit`
# splits them into pictures to learn from, pictures to choose by and pictures to test
# on, trains a small network, keeps its best moment, and scores it once on the test
# pictures.

# %% A trained and scored classifier
import firstlight as fl

data = fl.load_data("digits")
run = fl.train(data, fl.Recipe(model="mlp"))
print(run.test)

# %% [markdown]
# Chapter 6 explains all six numbers; the first is the share of right answers. Every
# number comes with a 95 % interval, since other test digits would have given another
# number. Whoever shows you an accuracy without one has not told you how sure they are.

# %% The interval is not decoration
accuracy = run.test.accuracy
assert accuracy.low < accuracy.value <= accuracy.high
# and the model has learned something: guessing is right once in ten
assert accuracy.low > 0.9
print(f"{accuracy.n} digits to test on, {1 - accuracy.value:.1%} of them misread")

# %% [markdown]
# Which digits does it take for which? Rows are what they are, columns what the model
# says.

# %% What it confuses
fl.confusion_matrix(run.test.confusion, run.model.classes)

# %% [markdown]
# And these are the mistakes it was surest of. Look at them before you blame the model:
# some digits are hard to read.

# %% The mistakes it was surest of
if run.mistakes:
    rows = [mistake.row for mistake in run.mistakes[:8]]
    said = [
        f"{run.model.classes[m.label]}, read as {run.model.classes[m.predicted]}"
        for m in run.mistakes[:8]
    ]
    fl.image_grid([data.images.read(row) for row in rows], said)

# %% [markdown]
# The classifier is one file now. It holds the weights and everything that is needed to
# use them: the classes' names, the size of the pictures, how they are normalized.
# Chapter 7 takes it apart.

# %% One file is the model
model = fl.load(run.folder / "model.safetensors")
print(model.summary())
assert model.classes == data.classes

# %% And asked
row = int(run.data.split.test[0])  # a digit that it has not learned from
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
# The same from the command line, where a folder with one subfolder a class does as well
# as a name:
#
# ```sh
# firstlight train digits --model mlp
# firstlight train ~/photos
# ```
#
# What happens inside `fit` is what the next chapters build by hand: tensors (2),
# networks (3), training (4), the whole road on clothes (5), honest numbers (6), files
# (7), pictures (8), and networks that have seen a million pictures before yours (9).

# %% [markdown]
# ## Exercises
#
# **1.** What is the slope of the sigmoid, 1 / (1 + e⁻ˣ), at 0, at 2 and at 10? Let
# PyTorch tell you, then compare with the formula `s * (1 - s)`. What does the last one
# mean for a network that is very sure and wrong?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
x = torch.tensor([0.0, 2.0, 10.0], requires_grad=True)
s = 1 / (1 + torch.exp(-x))
s.sum().backward()  # of a sum, each x gets its own slope
print(x.grad)

assert torch.allclose(x.grad, s * (1 - s), atol=1e-6)
# where the sigmoid is flat, hardly anything is learned: one reason for ReLU (chapter 3)
assert x.grad[2] < 1e-4

# %% [markdown]
# **2.** Train with another seed (`fl.Recipe(model="mlp", seed=1)`). Another seed also
# deals the digits into other parts, so the two were tested on different pictures. Do
# the two intervals overlap? Would you call one of the models better?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
other = fl.train(data, fl.Recipe(model="mlp", seed=1)).test.accuracy
print(f"seed 0: {accuracy}\nseed 1: {other}")

overlap = max(accuracy.low, other.low) <= min(accuracy.high, other.high)
print(
    "They overlap: no evidence for either."
    if overlap
    else "They do not overlap: split and seed matter here."
)
# Tested on the same pictures, smaller differences can be told: chapter 6.

# %% [markdown]
# **3.** Which digit is most often read as which other one? Find them in
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
