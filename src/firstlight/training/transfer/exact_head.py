"""The best linear head on frozen features: multinomial logistic regression with L2, solved until it no longer moves.

Minimized over weights W `[K, D]` and biases b `[K]`, on standardized features x:

    sum of class weight * cross entropy(W x + b, label) + |W|^2 / (2 * strength)

as scikit-learn's `LogisticRegression(C=strength)` does (with `C=2 * strength` for two classes, which it gives one row).
It is convex: there is one answer, whatever the seed. The standardization is folded into W and b afterwards, so that the
head is an ordinary `nn.Linear`.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from firstlight.runtime.processors import one_thread
from firstlight.runtime.seeds import generator

STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-9, 3))  # 3e-5 ... 10, each three times the one before
PATIENCE = 2  # weaker penalties that may validate worse, one after another, before the search ends
FLAT = 1e-8  # slope of the mean loss, in any direction, at which a minimum counts as found
NEARLY_FLAT = 1e-5  # and at which it is good enough to be compared with others
MOST_STEPS, MEMORY = 5000, 10  # of L-BFGS
FOLDS = 5
SHARED_WORK = 2**25  # numbers in the features, from which on the products are shared among threads


@dataclass(frozen=True)
class LinearHead:
    """A linear layer and how it was found.

    Attributes:
        weight: float64 `[K, D]`, for features as they come.
        bias: float64 `[K]`.
        strength: the inverse of the penalty, scikit-learn's `C`.
        log_loss: of the images that chose the strength, in nats.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    log_loss: float = float("nan")

    def logits(self, features: NDArray[np.float32]) -> Tensor:
        """Map features float32 `[n, D]` to logits float64 `[n, K]`."""
        return torch.from_numpy(np.array(features, np.float64)) @ self.weight.T + self.bias


class Problem:
    """Features, standardized once, and labels; `solve` gives the head of a strength.

    Args:
        features: float32 `[n, D]`.
        labels: int64 `[n]`.
        num_classes: K; a class may be absent, and then is never answered.
        class_weights: float `[K]`, by which each image's loss is multiplied; 1 if None.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        num_classes: int,
        class_weights: Tensor | None = None,
    ) -> None:
        raw = torch.from_numpy(np.array(features, np.float64))
        self.mean, std = raw.mean(dim=0), raw.std(dim=0, correction=0)
        self.std = torch.where(std > 0, std, 1.0)
        self.features, self.directions = (raw - self.mean) / self.std, None
        if len(raw) < raw.shape[1]:
            # note: the answer is a combination of the images, so there are no more unknowns a class than images
            self.directions, combined = torch.linalg.qr(self.features.T)
            self.features = combined.T.contiguous()
        self.labels = torch.from_numpy(np.asarray(labels))
        weights = torch.ones(num_classes) if class_weights is None else class_weights.cpu()
        self.weights = weights.double()[self.labels]
        self.num_classes = num_classes
        self._answers = {0.0: np.zeros(num_classes * (self.features.shape[1] + 1))}

    def solve(self, strength: float, slope: float = FLAT) -> LinearHead:
        """Find the minimum by L-BFGS, starting from the last answer for this strength, or for a smaller one.

        Args:
            strength: the inverse of the penalty.
            slope: of the mean loss, in any direction, where the search ends.

        Source: D. C. Liu and J. Nocedal, On the limited memory BFGS method, Mathematical Programming 1989.
        """
        from scipy.optimize import minimize

        penalty = 1 / (strength * len(self.labels))
        options = {"gtol": slope, "ftol": 0.0, "maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "maxcor": MEMORY}
        start = self._answers[max(known for known in self._answers if known <= strength)]
        with one_thread() if self.features.numel() < SHARED_WORK else nullcontext():
            found = minimize(self._loss, start, (penalty,), "L-BFGS-B", jac=True, options=options)
        self._answers[strength] = found.x
        solution = torch.from_numpy(found.x).view(self.num_classes, -1)
        weight = solution[:, :-1] if self.directions is None else solution[:, :-1] @ self.directions.T
        weight = weight / self.std
        return LinearHead(weight, solution[:, -1] - weight @ self.mean, strength)

    def _loss(self, values: NDArray[np.float64], penalty: float) -> tuple[float, NDArray[np.float64]]:
        """Give the mean loss with its penalty, and its slope in every direction."""
        solution = torch.from_numpy(values).view(self.num_classes, -1)
        weight, bias = solution[:, :-1], solution[:, -1:]
        # note: logits are [K, n] here, as products with few rows take two thirds of the time of those with few columns
        logs = torch.log_softmax(weight @ self.features.T + bias, dim=0)
        picked = logs.gather(0, self.labels[None])[0]
        count = len(self.labels)
        loss = -(self.weights * picked).sum() / count + penalty / 2 * weight.square().sum()
        slope = logs.exp_()
        slope[self.labels, torch.arange(count)] -= 1
        slope *= self.weights / count
        slopes = torch.cat([slope @ self.features + penalty * weight, slope.sum(dim=1, keepdim=True)], dim=1)
        return loss.item(), slopes.flatten().numpy()


def fit_head(
    problem: Problem, features: NDArray[np.float32], labels: NDArray[np.int64], strengths: Sequence[float] = STRENGTHS
) -> LinearHead:
    """Fit heads from the strongest penalty to weaker ones, and keep the one with the least log loss on other images.

    Args:
        problem: the training images.
        features: of the validation images, float32 `[n, D]`.
        labels: theirs, int64 `[n]`.
        strengths: to choose from, ascending.
    """
    best: LinearHead | None = None
    worse = 0
    for strength in strengths:
        head = problem.solve(strength, NEARLY_FLAT)
        log_loss = functional.cross_entropy(head.logits(features), torch.from_numpy(labels)).item()
        if best is None or log_loss < best.log_loss:
            best, worse = replace(head, log_loss=log_loss), 0
        elif (worse := worse + 1) == PATIENCE:
            break
    assert best is not None
    exact = problem.solve(best.strength)
    return replace(exact, log_loss=best.log_loss)


def fit_head_by_folds(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_classes: int,
    class_weights: Tensor | None = None,
    *,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> LinearHead:
    """Fit a head whose strength is chosen by cross-validation inside the training images.

    For sets whose validation part is too small to choose by. Arguments are those of `out_of_fold` and `fit_head`.
    """
    log_losses = []
    for strength in strengths:
        logits = out_of_fold(
            features, labels, groups, num_classes, class_weights, strength=strength, slope=NEARLY_FLAT, seed=seed
        )
        log_losses.append(functional.cross_entropy(logits, torch.from_numpy(labels)).item())
        if len(log_losses) - 1 - int(np.argmin(log_losses)) == PATIENCE:
            break
    best = int(np.argmin(log_losses))
    head = Problem(features, labels, num_classes, class_weights).solve(strengths[best])
    return replace(head, log_loss=log_losses[best])


def out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_classes: int,
    class_weights: Tensor | None = None,
    *,
    strength: float,
    slope: float = FLAT,
    folds: int = FOLDS,
    seed: int = 0,
) -> Tensor:
    """Give every image the logits of a head that never saw it, nor any image of its group; float64 `[n, K]`.

    Args:
        features: float32 `[n, D]`.
        labels: int64 `[n]`.
        groups: int64 `[n]`; images of a group stay together.
        num_classes: K.
        class_weights: float `[K]`.
        strength: the inverse of the penalty.
        slope: where the search for each head ends; see `Problem.solve`.
        folds: how many parts; fewer if there are fewer groups.
        seed: of the parts.
    """
    fold_of = deal_into_folds(labels, groups, folds, seed)
    logits = torch.zeros(len(labels), num_classes, dtype=torch.float64)
    for fold in np.unique(fold_of):
        held_out = np.flatnonzero(fold_of == fold)
        learned = np.flatnonzero(fold_of != fold)
        head = Problem(features[learned], labels[learned], num_classes, class_weights).solve(strength, slope)
        logits[held_out] = head.logits(features[held_out])
    return logits


def deal_into_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int = FOLDS, seed: int = 0
) -> NDArray[np.int64]:
    """Deal groups into folds, largest first, each to the fold that has the fewest of its first image's class.

    Returns:
        each image's fold, int64 `[n]`; what is equal otherwise depends on `seed` alone.
    """
    ids, first, group_of, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    shuffled = torch.randperm(len(ids), generator=generator(seed, "folds")).numpy()
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    counts = np.zeros((min(folds, len(ids)), int(labels.max()) + 1), np.int64)
    fold_of_group = np.zeros(len(ids), np.int64)
    for group in order:
        label = labels[first[group]]
        fold = np.lexsort([counts.sum(axis=1), counts[:, label]])[0]
        fold_of_group[group] = fold
        counts[fold, label] += sizes[group]
    return fold_of_group[group_of]
