"""Calibration: one temperature, fitted on the validation split, that divides every logit."""

from collections.abc import Iterator

import torch
from torch import Tensor

from firstlight.evaluation.softmax import blocks

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
MAX_NEWTON_STEPS = 60


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature T that minimizes the log loss of softmax(logits / T); 0.05 <= T <= 20.

    The loss is convex in b = 1/T, so its slope has one root. Newton steps find it, each kept inside a shrinking
    bracket, in float64. The result is never worse than T = 1 on these samples.

    Without a mistake there is no minimum (the loss keeps falling as T goes to 0), and nothing can be learned about
    overconfidence: the result is then 1, as it is for no samples at all.

    Args:
        logits: float [n, K], finite.
        labels: int64 [n] in 0..K-1.

    Source: C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    own = logits.gather(1, labels[:, None])
    if (own[:, 0] == logits.amax(dim=1)).all():
        return 1.0

    def gaps() -> Iterator[Tensor]:
        # Relative to the label's own logit, the loss is logsumexp(b * gaps) and needs no second term.
        return (logits[rows].double() - own[rows] for rows in blocks(*logits.shape))

    def loss(inverse: float) -> float:
        return sum(torch.logsumexp(some * inverse, dim=1).sum().item() for some in gaps())

    def slope_and_curvature(inverse: float) -> tuple[float, float]:
        slope = curvature = 0.0
        for some in gaps():
            weights = torch.softmax(some * inverse, dim=1)
            means = (weights * some).sum(dim=1, keepdim=True)
            slope += means.sum().item()
            curvature += (weights * (some - means).square_()).sum().item()
        return slope, curvature

    low, high, inverse = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE, 1.0
    for _ in range(MAX_NEWTON_STEPS):
        slope, curvature = slope_and_curvature(inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = slope / curvature if curvature > 0 else float("inf")
        if abs(step) <= 1e-9 * inverse:
            break
        inverse -= step
        if not low < inverse < high:
            inverse = (low * high) ** 0.5
    return 1 / inverse if loss(inverse) < loss(1.0) else 1.0
