"""The best linear head on frozen features: multinomial logistic regression with L2, solved to convergence.

Minimized over weights W `[K, D]` and biases b `[K]`, on standardized features x:

    sum of class weight * cross entropy(W x + b, label) + |W|^2 / (2 * strength)

as scikit-learn's `LogisticRegression(C=strength)` does (with `C=2 * strength` for two classes, which it gives one row).
The problem is convex: there is one solution, whatever the seed. It is searched for along the principal directions of x,
each scaled by the curvature to expect there, which takes a third of the steps. Standardization and directions are
folded into W and b afterwards, so that the head is an ordinary `nn.Linear`.
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

STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-9, 3))  # 3e-5 to 10, each about three times the last
PATIENCE = 2  # weaker penalties in a row that may do worse on validation before the search ends
EXACT_SLOPE = 1e-8  # slope of the mean loss, in any direction, at which a minimum counts as found
SELECTION_SLOPE = 1e-5  # the same, for heads that are only compared with each other
MAX_STEPS, HISTORY = 5000, 10  # of L-BFGS
CURVATURE = 0.02  # to expect of the cross entropy, for each unit of variance; it changes the speed, not the result
FOLDS = 5
MIN_SIZE_FOR_THREADS = 2**25  # numbers in the features, from which on products use several threads


@dataclass(frozen=True)
class LinearHead:
    """A linear layer and how it was found.

    Attributes:
        weight: float64 `[K, D]`, for features as they come.
        bias: float64 `[K]`.
        strength: the inverse of the penalty, scikit-learn's `C`.
        log_loss: of the images that chose the strength, in nats.
        held_out_logits: float64 `[n, K]`, of each training image by a head that never saw it; None if there are none.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    log_loss: float = float("nan")
    held_out_logits: Tensor | None = None

    def logits(self, features: NDArray[np.float32]) -> Tensor:
        """Map features float32 `[n, D]` to logits float64 `[n, K]`."""
        return torch.from_numpy(np.array(features, np.float64)) @ self.weight.T + self.bias


class Problem:
    """Features, standardized once, and labels; `solve` returns the head of a strength.

    Args:
        features: float32 `[n, D]`.
        labels: int64 `[n]`.
        num_classes: K; a class may be absent, and is then never predicted.
        class_weights: float `[K]`, which the loss of each image is multiplied by; 1 if None.
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
        self.features, directions = (raw - self.mean) / self.std, None
        if len(raw) < raw.shape[1]:
            # note: the solution is a combination of the images, so there are no more unknowns per class than images
            directions, combined = torch.linalg.qr(self.features.T)
            self.features = combined.T.contiguous()
        variances, turned = torch.linalg.eigh(self.features.T @ self.features / len(raw))
        self.variances, self.features = variances.clamp_min(0), self.features @ turned
        self.directions = turned if directions is None else directions @ turned
        self.labels = torch.from_numpy(np.asarray(labels))
        weights = torch.ones(num_classes) if class_weights is None else class_weights.cpu()
        self.weights = weights.double()[self.labels]
        self.num_classes = num_classes
        self._solutions: dict[float, NDArray[np.float64]] = {}
        self._solutions_without: dict[int, dict[float, NDArray[np.float64]]] = {}

    def solve(self, strength: float, slope: float = EXACT_SLOPE) -> LinearHead:
        """Find the minimum, starting from the last solution for this strength, or for a smaller one.

        Args:
            strength: the inverse of the penalty.
            slope: of the mean loss, in any direction, where the search ends.
        """
        solution = self._minimum(strength, slope, self.weights, self._solutions)
        weight = solution[:, :-1] @ self.directions.T / self.std
        return LinearHead(weight, solution[:, -1] - weight @ self.mean, strength)

    def out_of_fold(self, fold_of: NDArray[np.int64], strength: float, slope: float = SELECTION_SLOPE) -> Tensor:
        """Return for every image the logits of a head that was fitted without the images of its fold, float64 `[n, K]`.

        Only the standardization, which knows no labels, is that of all images.

        Args:
            fold_of: the fold of each image, int64 `[n]`, always the same one; see `assign_folds`.
            strength: the inverse of the penalty.
            slope: where the search for each head ends, see `solve`.
        """
        logits = torch.zeros(len(self.labels), self.num_classes, dtype=torch.float64)
        for fold in np.unique(fold_of).tolist():
            held_out = torch.from_numpy(fold_of == fold)
            known = self._solutions_without.setdefault(fold, dict(self._solutions))
            solution = self._minimum(strength, slope, self.weights * ~held_out, known)
            logits[held_out] = self.features[held_out] @ solution[:, :-1].T + solution[:, -1]
        return logits

    def _minimum(
        self, strength: float, slope: float, weights: Tensor, known: dict[float, NDArray[np.float64]]
    ) -> Tensor:
        """Return weights and biases `[K, D + 1]` along the principal directions, by L-BFGS.

        Source: D. C. Liu and J. Nocedal, On the limited memory BFGS method, Mathematical Programming 1989.
        """
        from scipy.optimize import minimize

        penalty = 1 / (strength * len(self.labels))
        scales = torch.cat([(CURVATURE * self.variances + penalty).sqrt(), torch.tensor([CURVATURE**0.5])])
        scale = scales.repeat(self.num_classes).numpy()
        steepest = np.inf

        def loss(scaled: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            nonlocal steepest
            value, slopes = self._loss(scaled / scale, penalty, weights)
            steepest = np.abs(slopes).max()
            return value, slopes / scale

        def stop_if_found(_: NDArray[np.float64]) -> None:
            if steepest <= slope:
                raise StopIteration

        options = {"gtol": 0.0, "ftol": 0.0, "maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS, "maxcor": HISTORY}
        nearest = max((other for other in known if other <= strength), default=None)
        start = np.zeros(len(scale)) if nearest is None else known[nearest] * scale
        with one_thread() if self.features.numel() < MIN_SIZE_FOR_THREADS else nullcontext():
            found = minimize(loss, start, (), "L-BFGS-B", jac=True, callback=stop_if_found, options=options).x / scale
        known[strength] = found
        return torch.from_numpy(found).view(self.num_classes, -1)

    def _loss(self, values: NDArray[np.float64], penalty: float, weights: Tensor) -> tuple[float, NDArray[np.float64]]:
        """Return the mean loss with its penalty, and its slope in every direction."""
        solution = torch.from_numpy(values).view(self.num_classes, -1)
        weight, bias = solution[:, :-1], solution[:, -1:]
        # note: logits are [K, n] here: products with few rows take two thirds of the time of those with few columns
        logs = torch.log_softmax(weight @ self.features.T + bias, dim=0)
        picked = logs.gather(0, self.labels[None])[0]
        count = len(self.labels)
        loss = -(weights * picked).sum() / count + penalty / 2 * weight.square().sum()
        slope = logs.exp_()
        slope[self.labels, torch.arange(count)] -= 1
        slope *= weights / count
        slopes = torch.cat([slope @ self.features + penalty * weight, slope.sum(dim=1, keepdim=True)], dim=1)
        return loss.item(), slopes.flatten().numpy()


def fit_head(
    problem: Problem, features: NDArray[np.float32], labels: NDArray[np.int64], strengths: Sequence[float] = STRENGTHS
) -> LinearHead:
    """Fit heads from the strongest penalty to weaker ones, and keep the one with the lowest log loss on other images.

    Args:
        problem: the training images.
        features: of the validation images, float32 `[n, D]`.
        labels: of the validation images, int64 `[n]`.
        strengths: to choose from, ascending.
    """
    best: LinearHead | None = None
    worse = 0
    for strength in strengths:
        head = problem.solve(strength, SELECTION_SLOPE)
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

    For sets whose validation split is too small to choose by. Arguments are those of `out_of_fold` and `fit_head`.
    """
    problem = Problem(features, labels, num_classes, class_weights)
    fold_of = assign_folds(labels, groups, seed=seed)
    log_losses: list[float] = []
    held_out: list[Tensor] = []
    for strength in strengths:
        held_out.append(problem.out_of_fold(fold_of, strength))
        log_losses.append(functional.cross_entropy(held_out[-1], torch.from_numpy(labels)).item())
        if len(log_losses) - 1 - int(np.argmin(log_losses)) == PATIENCE:
            break
    best = int(np.argmin(log_losses))
    return replace(problem.solve(strengths[best]), log_loss=log_losses[best], held_out_logits=held_out[best])


def assign_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int = FOLDS, seed: int = 0
) -> NDArray[np.int64]:
    """Assign groups to folds, largest first, each to the fold with the fewest images of its first image's class.

    Returns:
        the fold of each image, int64 `[n]`; ties are broken by `seed` alone.
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
