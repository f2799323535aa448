"""Comparing two models: false alarms, coverage, and power, on the real answers of two models and in simulations.

Two logistic regressions on the pixels of MNIST, trained on 500 and on 1,000 images, answer its 10,000 test images.
Swapping their answers on each image by the toss of a coin makes two models that are exactly equally good, with the
disagreement of real ones. Peers are the two tests that people use instead: the z test of two proportions, which does
not know that both answered the same images, and scipy's exact binomial test. Takes 3 minutes on one core.
"""

from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

import numpy as np
from scipy.stats import binom, binomtest, norm
from sklearn.linear_model import LogisticRegression

from firstlight.data.sources import load_data
from firstlight.evaluation.comparison import Comparison, compare_logits
from firstlight.evaluation.intervals import proportion
from firstlight.evaluation.paired import mcnemar_mid_p, power
from firstlight.evaluation.repeated import crossed_difference
from trust_parts.goal import Goal

N = 372  # images of a small test split
DRAWS = 250  # for each seed
LEVEL = 0.05
LEAST, MOST = 0.035, 0.06  # of false alarms at this level
REALISTIC = [(n, share) for n in (200, 372, 1000, 2000) for share in (0.05, 0.1, 0.2)]  # images, disagreement


def measure(seeds: range, data_root: Path) -> Iterator[Goal]:
    """Yield the goals, measured with these seeds."""
    yield from exact_false_alarms()
    labels, first, second = real_answers(data_root)
    yield from on_real_answers(labels, (first, second), seeds)
    yield from with_several_seeds(seeds)


@cache
def mid_p(fewer: int, more: int) -> float:
    """Return ours."""
    return mcnemar_mid_p(fewer, more)


@cache
def exact_p(fewer: int, more: int) -> float:
    """Return scipy's: the exact version of McNemar's test."""
    return float(binomtest(fewer, fewer + more).pvalue) if fewer + more else 1.0


def unpaired_p(accuracies: tuple[float, float], n: int) -> float:
    """Return that of the z test of two proportions."""
    mean = sum(accuracies) / 2
    error = np.sqrt(2 * mean * (1 - mean) / n)
    return float(2 * norm.sf(abs(accuracies[1] - accuracies[0]) / error)) if error > 0 else 1.0


def false_alarms(test: object, n: int, disagreement: float) -> float:
    """Return how often a test finds a difference between two equally good models, over all possible outcomes."""
    alarms = 0.0
    for total in range(1, n + 1):
        if (chance := float(binom.pmf(total, n, disagreement))) > 1e-6:
            p_values = (test(fewer, total - fewer) for fewer in range((total + 1) // 2))  # type: ignore[operator]
            rejected = len(list(takewhile(lambda p: p < LEVEL, p_values)))
            alarms += chance * 2 * float(binom.cdf(rejected - 1, total, 0.5))
    return alarms


def exact_false_alarms() -> Iterator[Goal]:
    """Yield the lowest and the highest rate of false alarms over realistic sizes, by enumeration."""
    ours = [false_alarms(mid_p, *case) for case in REALISTIC]
    peer = [false_alarms(exact_p, *case) for case in REALISTIC]
    where = "n 200 to 2,000, disagreement 5 to 20%"
    for name, pick in (("lowest", min), ("highest", max)):
        yield Goal(
            name=f"false alarms, {name} of {len(ours)} cases, exact ({where})",
            value=pick(ours),
            least=LEAST,
            most=MOST,
            peer=f"scipy binomtest: {pick(peer):.3f}",
        )
    yield Goal(
        name="false alarms where hardly any answer differs (n = 100, disagreement 3%), exact",
        value=false_alarms(mid_p, 100, 0.03),
        peer=f"scipy binomtest: {false_alarms(exact_p, 100, 0.03):.3f}",
        note="three answers cannot show a difference",
    )


def real_answers(data_root: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the test labels of MNIST, and the logits of two models, `[10000, 10]`; the second is a little better."""
    samples = load_data("mnist", data_root=str(data_root))
    pixels = samples.images.images.reshape(len(samples), -1)[:, ::2] / 255  # type: ignore[attr-defined]
    train, test = np.flatnonzero(samples.splits == 0), np.flatnonzero(samples.splits == 2)
    found = []
    for start, count in ((0, 500), (500, 1000)):
        rows = train[start : start + count]
        model = LogisticRegression(C=0.1, max_iter=200).fit(pixels[rows], samples.labels[rows])
        found.append(model.decision_function(pixels[test]).astype(np.float32))
    return samples.labels[test], found[0], found[1]


def on_real_answers(labels: np.ndarray, logits: tuple[np.ndarray, np.ndarray], seeds: range) -> Iterator[Goal]:
    """Yield false alarms on swapped answers, and coverage and power on samples of the real ones."""
    classes = [str(number) for number in range(10)]
    scores = ("accuracy", "macro_f1", "log_loss")
    whole = compare_logits(labels, logits, classes)
    truth = [getattr(whole, f"{name}_difference").value for name in scores]
    alarms, covered, unpaired, exact, found, by_class = np.zeros(3), np.zeros(3), np.zeros(2), np.zeros(2), 0, 0
    disagreement = (whole.only_a + whole.only_b) / whole.n
    draws = DRAWS * len(seeds)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for _ in range(DRAWS):
            rows, swap = rng.integers(0, len(labels), N), rng.random((N, 1)) < 0.5
            a, b = (each[rows] for each in logits)
            null = compare_logits(labels[rows], (np.where(swap, b, a), np.where(swap, a, b)), classes)
            real = compare_logits(labels[rows], (a, b), classes)
            alarms += [excludes(getattr(null, f"{name}_difference"), 0.0) for name in scores]
            by_class += bool(null.differing_classes)
            covered += [
                not excludes(getattr(real, f"{name}_difference"), value)
                for name, value in zip(scores, truth, strict=True)
            ]
            found += real.verdict != "cannot tell"
            unpaired += [unpaired_p(each.accuracy, N) < LEVEL for each in (null, real)]
            exact += [exact_p(*sides(each)) < LEVEL for each in (null, real)]
    where = f"MNIST, n = {N}, disagreement {disagreement:.0%}"
    peers = (f"unpaired z: {unpaired[0] / draws:.3f}; scipy binomtest: {exact[0] / draws:.3f}", "", "")
    for name, count, peer in zip(scores, alarms, peers, strict=True):
        estimate = proportion(int(count), draws)
        yield Goal(
            name=f"false alarms, {name.replace('_', ' ')} ({where}, answers swapped at random)",
            value=estimate.value, low=estimate.low, high=estimate.high, n=draws, least=LEAST, most=MOST, peer=peer,
        )  # fmt: skip
    estimate = proportion(by_class, draws)
    yield Goal(
        name="false alarms, any class (the same)",
        value=estimate.value, low=estimate.low, high=estimate.high, n=draws, most=MOST,
    )  # fmt: skip
    for name, count in zip(scores, covered, strict=True):
        estimate = proportion(int(count), draws)
        yield Goal(
            name=f"coverage of the 95% interval, {name.replace('_', ' ')} ({where})",
            value=estimate.value, low=estimate.low, high=estimate.high, n=draws, least=0.935, most=0.97,
        )  # fmt: skip
    estimate = proportion(found, draws)
    yield Goal(
        name=f"power: a true difference of {100 * truth[0]:.1f} points is found ({where})",
        value=estimate.value, low=estimate.low, high=estimate.high, n=draws, least=float(unpaired[1] / draws),
        peer=f"unpaired z: {unpaired[1] / draws:.3f}; scipy binomtest: {exact[1] / draws:.3f}",
        note=f"predicted {power(abs(truth[0]), disagreement, N):.3f}",
    )  # fmt: skip


def excludes(interval: object, value: float) -> bool:
    """Return whether an interval leaves a value out."""
    return bool(interval.low > value or interval.high < value)  # type: ignore[attr-defined]


def sides(found: Comparison) -> tuple[int, int]:
    """Return on how many images only one of two models is right, the smaller number first."""
    return min(found.only_a, found.only_b), max(found.only_a, found.only_b)


def with_several_seeds(seeds: range) -> Iterator[Goal]:
    """Yield false alarms of comparing recipes by five seeds each, where images and seeds differ."""
    for spread in (0.0, 0.1, 0.3):
        alarms, images_only, deviations = 0, 0, []
        for seed in seeds:
            rng = np.random.default_rng([seed, int(100 * spread)])
            for _ in range(DRAWS):
                a, b = simulated_recipes(rng, spread)
                found = crossed_difference(a, b, resolution=1)
                alarms += found.p < LEVEL
                images_only += abs(found.difference.value) > norm.isf(LEVEL / 2) * found.image_error
                deviations.append(a.mean(axis=1).std(ddof=1))
        draws = DRAWS * len(seeds)
        estimate, points = proportion(alarms, draws), 100 * float(np.mean(deviations))
        yield Goal(
            name=f"false alarms, recipes, 5 seeds that differ by {points:.1f} points (simulation, n = {N})",
            value=estimate.value, low=estimate.low, high=estimate.high, n=draws, most=MOST,
            peer=f"the images alone: {images_only / draws:.3f}",
        )  # fmt: skip


def simulated_recipes(rng: np.random.Generator, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return whether five models each of two equally good recipes are right on the same images, float64 `[5, N]`."""
    difficulty = rng.normal(2.2, 2.5, N)
    both = []
    for _ in range(2):
        kinds, luck = rng.normal(0, 1, N), rng.normal(0, spread, (5, 1))
        both.append((difficulty + kinds + luck + rng.normal(0, 0.8, (5, N)) > 0).astype(np.float64))
    return both[0], both[1]
