# %% [markdown]
# # 1. Introduction
#
# **By the end of this chapter**, you can say what PyTorch is and what it does for you,
# install it, let it compute a derivative, and train, score, and use an image classifier
# in a few lines.
#
# You need Python and a little NumPy. You do not need to know PyTorch, and you do not
# need a graphics card. Once everything is installed, you do not need the internet
# either.

# %% [markdown]
# ## What PyTorch is
#
# PyTorch is a library for numerical computing. It does two things well: its arrays,
# called **tensors**, work on processors and graphics cards alike, and it
# **differentiates** whatever you compute with them. `torch.nn` builds on both. It is a
# collection of building blocks for neural networks.
#
# A *neural network* is a function with many adjustable numbers, its **weights**.
# *Training* uses derivatives to adjust the weights until the network's answers match
# the examples. Computing an answer is called the *forward pass*; computing the
# derivatives is called the *backward pass*.
#
# PyTorch came out of Facebook's AI research lab in 2017, merged with Caffe2 a year
# later, and now belongs to the Linux Foundation. Its license is BSD, so you can use it
# for anything. Most people use it from Python, where it feels like NumPy. Underneath,
# it is written in C++, which you can also use directly. PyTorch's own [60-minute
# blitz](https://docs.pytorch.org/tutorials/beginner/deep_learning_60min_blitz.html) is
# another quick tour.

# %% [markdown]
# ## Installing PyTorch
#
# ```sh
# pip install torch torchvision     # all nine chapters run without a graphics card
# pip install 'firstlight[guide]'   # this library; it installs both as well
# ```
#
# If you use conda, get PyTorch from conda-forge. The old `pytorch` channel no longer
# gets new versions.

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
# Call `backward` on the result, and PyTorch goes through that record in reverse,
# applying the chain rule. Afterward, the `.grad` of each tensor that you marked holds
# the derivative of the result with respect to that tensor. Training needs nothing more,
# and you never write a derivative yourself.

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
# The forward pass only *records* the operations. The derivatives are computed in the
# backward pass: until you call `backward`, there is no gradient.

# %% What the record holds
z = x**2
assert z.grad_fn is not None  # z knows how it was made ...
print("z was made by", type(z.grad_fn).__name__)

with torch.no_grad():
    z = x**2
assert z.grad_fn is None  # ... unless you turn recording off

# %% [markdown]
# ## A quick tour
#
# Here is the whole course in a few lines. The data is real: 1,797 handwritten digits of
# 8 x 8 pixels that come with scikit-learn. `train` splits them into three parts:
# pictures to learn from, pictures to make choices with, and pictures to test on. It
# trains a small network, keeps the best epoch, and scores it once on the test pictures.

# %% A trained and scored classifier
import firstlight as fl

data = fl.load_data("digits")
run = fl.train(data, model="mlp")
print(run.test)

# %% [markdown]
# Chapter 6 explains all six scores; the first one is the proportion of right answers.
# Every score comes with a 95% interval, because other test digits would have given a
# slightly different number. An accuracy without an interval does not tell you how much
# to trust it.

# %% The interval matters
accuracy = run.test.accuracy
assert accuracy.low < accuracy.value <= accuracy.high
# it has learned something: guessing would be right one time in ten
assert accuracy.low > 0.9
print(f"{accuracy.n} digits to test on, {1 - accuracy.value:.1%} of them misread")

# %% [markdown]
# Which digits does the model mix up? Each row is the true digit, and each column is the
# model's answer.

# %% What it confuses
# Figure: a confusion matrix of the ten digits, one row per true digit and one column
# per answer. Nearly all test digits are on the diagonal, where the two agree.
fl.confusion_matrix(run.test.confusion, run.model.classes)

# %% [markdown]
# Below are the mistakes that the model was most confident about. Look at them before
# you blame the model: some digits are hard to read.

# %% The most confident mistakes
# Figure: a grid of misread digits. Above each are its true class and the class that the
# model gave it.
if run.mistakes:
    rows = [mistake.row for mistake in run.mistakes[:8]]
    said = [
        f"{run.model.classes[m.label]}, read as {run.model.classes[m.predicted]}"
        for m in run.mistakes[:8]
    ]
    fl.image_grid([data.images.read(row) for row in rows], said)

# %% [markdown]
# The classifier is now a single file. It holds the weights and everything you need to
# use them: the names of the classes, the size of the pictures, and how to normalize
# them. Chapter 7 looks inside.

# %% One file is the model
model = fl.load(run.folder / "model.safetensors")
print(model.summary())
assert model.classes == data.classes

# %% Ask it about one digit
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
# In the following chapters, you build by hand what happens inside `train`: tensors (2),
# networks (3), training (4), a complete run on pictures of clothes (5), scores you can
# trust (6), files (7), image data (8), and networks that were already trained on a
# million pictures (9).

# %% [markdown]
# ## Exercises
#
# **1.** What is the slope of the sigmoid, 1 / (1 + e⁻ˣ), at 0, at 2, and at 10? Let
# PyTorch compute it, then compare it with the formula `s * (1 - s)`. What does the last
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
# **2.** Train with a different seed (`fl.train(data, model="mlp", seed=1)`). The seed
# also decides how the digits are split, so the two models are tested on different
# pictures. Do the two intervals overlap? Can you tell which model is better?

# %% tags=["hide-cell"] jupyter={"source_hidden": true}
other = fl.train(data, model="mlp", seed=1).test.accuracy
print(f"seed 0: {accuracy}\nseed 1: {other}")

overlap = max(accuracy.low, other.low) <= min(accuracy.high, other.high)
print(
    "They overlap, so you cannot tell which one is better."
    if overlap
    else "They do not overlap: the seed makes a difference here."
)
# To see smaller differences, test both models on the same pictures: chapter 6.

# %% [markdown]
# **3.** Which digit is most often mistaken for which other one? Find the pair in
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
