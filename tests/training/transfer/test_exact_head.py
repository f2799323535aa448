"""The exact head against scikit-learn and finite differences, and folds that cannot leak."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from firstlight.training.transfer import exact_head
from firstlight.training.transfer.exact_head import (
    STRENGTHS,
    LinearHead,
    Problem,
    assign_folds,
    fit_head,
    fit_head_by_folds,
)

CLASS_WEIGHTS = torch.tensor([3.0, 0.5, 1.0, 1.0, 2.0, 1.0, 0.1, 1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def parts(digits):
    """Pixels of digits as features, some of which never change: 500 to learn from and 300 others, with labels."""
    images, labels = digits
    seen = images.reshape(-1, 64).astype(np.float32)
    seen = np.concatenate([seen, np.full((len(seen), 1), 0.3, np.float32)], axis=1)
    return (seen[:500], labels[:500]), (seen[500:800], labels[500:800])


def scikit(seen, labels, strength, class_weight=None):
    """The same minimum by Newton's method: how features are scaled, and the model of scaled ones."""
    scaler = StandardScaler().fit(seen.astype(np.float64))
    model = LogisticRegression(
        C=strength, tol=1e-10, solver="newton-cholesky", max_iter=1000, class_weight=class_weight
    )
    return scaler, model.fit(scaler.transform(seen.astype(np.float64)), labels)


def truth(scaler, model, seen):
    return model.predict_proba(scaler.transform(seen.astype(np.float64)))


def out_of_fold(seen, labels, groups, strength):
    """The logits of heads that saw neither an image nor its group."""
    return Problem(seen, labels, labels.max() + 1).out_of_fold(assign_folds(labels, groups), strength)


def probabilities(head, seen):
    return head.logits(seen).softmax(dim=1).numpy()


@pytest.mark.parametrize("images", [500, 40], ids=["more pictures than features", "fewer"])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0, 10.0])
def test_the_head_is_scikit_learns(strength, class_weights, images, parts):
    (seen, labels), (others, _) = parts
    seen, labels = seen[:images], labels[:images]
    weight_of = None if class_weights is None else dict(enumerate(class_weights.tolist()))
    scaler, model = scikit(seen, labels, strength, weight_of)
    head = Problem(seen, labels, 10, class_weights).solve(strength)
    assert probabilities(head, others) == pytest.approx(truth(scaler, model, others), abs=1e-4)
    assert head.weight.numpy() == pytest.approx(model.coef_ / scaler.scale_, abs=1e-4)
    bias = model.intercept_ - (model.coef_ / scaler.scale_) @ scaler.mean_
    differences = head.bias.numpy() - bias  # the same number on every class changes nothing
    assert differences == pytest.approx(np.full(10, differences.mean()), abs=1e-3)


def test_two_classes_have_two_rows_that_answer_as_scikit_learns_single_one(parts):
    """One row w with the penalty |w|^2 is two of w/2 and -w/2 with half of that: twice the strength is the same."""
    (seen, labels), (others, _) = parts
    scaler, model = scikit(seen, labels % 2, 2 * 0.05)
    head = Problem(seen, labels % 2, 2).solve(0.05)
    assert head.weight.shape == (2, 65)
    assert probabilities(head, others) == pytest.approx(truth(scaler, model, others), abs=1e-4)


def test_an_absent_class_is_never_answered_and_changes_nothing_for_the_others(parts):
    (seen, labels), (others, _) = parts
    there = labels != 3
    scaler, model = scikit(seen[there], labels[there], 0.1)
    found = probabilities(Problem(seen[there], labels[there], 10).solve(0.1), others)
    assert found[:, 3].max() < 1e-6
    assert np.delete(found, 3, axis=1) == pytest.approx(truth(scaler, model, others), abs=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.3, 1e6])
def test_what_never_changed_counts_for_nothing_whatever_it_is_later(constant, parts):
    (seen, labels), (others, _) = parts
    seen, others = seen.copy(), others.copy()
    seen[:, -1], others[:, -1] = constant, 1e3
    head = Problem(seen, labels, 10).solve(1.0)
    assert not head.weight[:, -1].any()
    without = Problem(seen[:, :-1], labels, 10).solve(1.0)
    assert probabilities(head, others) == pytest.approx(probabilities(without, others[:, :-1]), abs=1e-4)


def test_the_slopes_of_the_loss_are_its_finite_differences(parts):
    (seen, labels), _ = parts
    problem = Problem(seen[:40, 20:30], labels[:40], 10, CLASS_WEIGHTS)
    where = np.random.default_rng(0).normal(size=10 * 11)
    loss, slopes = (
        (lambda at: problem._loss(at, 0.03, problem.weights)[0]),
        (lambda at: problem._loss(at, 0.03, problem.weights)[1]),
    )
    assert check_grad(loss, slopes, where) < 1e-6 < np.abs(slopes(where)).max()


def test_after_the_search_no_slope_is_left(parts):
    """Automatic differentiation of the written-down loss, at the folded head, on the features as they come."""
    (seen, labels), _ = parts
    problem = Problem(seen, labels, 10, CLASS_WEIGHTS)
    head = problem.solve(0.1)
    weight, bias = head.weight.clone().requires_grad_(), head.bias.clone().requires_grad_()
    logits = torch.from_numpy(seen.astype(np.float64)) @ weight.T + bias
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none")
    scale = torch.from_numpy(seen.astype(np.float64).std(axis=0))
    loss = (CLASS_WEIGHTS[labels] * losses).sum() + (weight * scale).square().sum() / (2 * 0.1)
    loss.backward()
    assert bias.grad.abs().max() / len(labels) < 1e-6
    changing = scale > 0
    assert (weight.grad[:, changing] / scale[changing]).abs().max() / len(labels) < 1e-6


def test_a_warm_start_and_a_cold_one_end_at_the_same_head(parts):
    (seen, labels), (others, _) = parts
    warm, cold = Problem(seen, labels, 10), Problem(seen, labels, 10)
    warm.solve(10.0)
    warm.solve(1e-3)
    assert probabilities(warm.solve(0.1), others) == pytest.approx(probabilities(cold.solve(0.1), others), abs=1e-5)


@pytest.mark.parametrize("noise", [0, 300], ids=["real labels", "noisy labels"])
def test_the_strength_is_the_one_of_least_log_loss_on_the_other_images(noise, parts):
    (seen, labels), (others, wanted) = parts
    rng = np.random.default_rng(0)
    labels = labels.copy()
    labels[:noise] = rng.integers(0, 10, noise)
    losses = []
    for strength in STRENGTHS:
        found = probabilities(Problem(seen, labels, 10).solve(strength), others)
        losses.append(log_loss(wanted, found, labels=range(10)))
    best = int(np.argmin(losses))
    assert 0 < best < len(STRENGTHS) - 1, "a minimum at the end would hide a search that goes too far"
    head = fit_head(Problem(seen, labels, 10), others, wanted)
    assert head.strength == STRENGTHS[best]
    assert head.log_loss == pytest.approx(losses[best], abs=1e-3)
    exact = Problem(seen, labels, 10).solve(head.strength)
    assert probabilities(head, others) == pytest.approx(probabilities(exact, others), abs=1e-5)


def test_by_folds_the_strength_is_the_one_of_least_log_loss_out_of_fold(parts):
    seen, labels = (part[:150] for part in parts[0])
    groups = np.arange(150)
    losses = [
        log_loss(labels, out_of_fold(seen, labels, groups, strength).softmax(1).numpy()) for strength in STRENGTHS
    ]
    head = fit_head_by_folds(seen, labels, groups, 10)
    assert head.strength == STRENGTHS[int(np.argmin(losses))]
    assert head.log_loss == pytest.approx(min(losses), abs=1e-3)
    assert torch.equal(head.weight, Problem(seen, labels, 10).solve(head.strength).weight)


def test_strengths_ascend():
    assert all(weaker > stronger for stronger, weaker in pairwise(STRENGTHS))


def test_logits_are_the_features_times_the_weights_and_the_bias():
    head = LinearHead(torch.tensor([[1.0, 2.0], [0.0, -1.0]]).double(), torch.tensor([0.5, 0.0]).double(), 1.0)
    assert head.logits(np.array([[1, 1], [2, 0]], np.float32)).tolist() == [[3.5, -1.0], [2.5, 0.0]]


@pytest.fixture(scope="module")
def copies():
    """400 pictures of noise with random labels, and a copy of each: whoever saw the copy knows the label."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(400, 400)).astype(np.float32)
    labels = rng.integers(0, 4, 400)
    return np.tile(seen, (2, 1)), np.tile(labels, 2), np.tile(np.arange(400), 2)


def test_out_of_fold_answers_never_saw_a_image_of_the_group(copies):
    seen, labels, groups = copies
    honest = out_of_fold(seen, labels, groups, 0.1)
    leaky = out_of_fold(seen, labels, np.arange(800), 0.1)
    right = [(logits.argmax(dim=1).numpy() == labels).mean() for logits in (honest, leaky)]
    assert right[0] < 0.25 + 0.1, "labels are random: nobody can know them"
    assert right[1] > 0.8, "the trap does not work: a leak would not be seen"


def test_every_fold_is_answered_by_a_head_of_the_others(parts):
    (seen, labels), _ = parts
    groups = np.arange(500) // 2
    fold_of = assign_folds(labels, groups, seed=3)
    logits = Problem(seen, labels, 10, CLASS_WEIGHTS).out_of_fold(fold_of, 0.1)
    scaled = StandardScaler().fit_transform(seen.astype(np.float64))
    for fold in range(5):
        asked = fold_of == fold
        model = LogisticRegression(
            C=0.1, tol=1e-10, solver="newton-cholesky", class_weight=dict(enumerate(CLASS_WEIGHTS.tolist()))
        ).fit(scaled[~asked], labels[~asked])
        assert logits[asked].softmax(1).numpy() == pytest.approx(model.predict_proba(scaled[asked]), abs=1e-3)


def test_out_of_fold_answers_are_the_same_after_the_head_of_all_images_was_found(parts):
    (seen, labels), _ = parts
    fold_of = assign_folds(labels, np.arange(500))
    first, later = Problem(seen, labels, 10), Problem(seen, labels, 10)
    later.solve(0.1)
    found = [problem.out_of_fold(fold_of, 0.1, 1e-8).softmax(1) for problem in (first, later)]
    assert (found[0] - found[1]).abs().max() < 1e-5


@pytest.mark.parametrize("group_size", [1, 2, 3])
def test_folds_are_alike_in_every_class_and_keep_groups_together(group_size):
    rng = np.random.default_rng(0)
    label_of_group = np.repeat(np.arange(7), [50, 5, 33, 10, 8, 100, 21])
    groups = rng.permutation(np.repeat(np.arange(len(label_of_group)), group_size))
    labels = label_of_group[groups]
    fold_of = assign_folds(labels, groups, seed=1)
    for group in np.unique(groups):
        assert len(set(fold_of[groups == group])) == 1
    for label in range(7):
        counts = np.bincount(fold_of[labels == label], minlength=5)
        assert counts.max() - counts.min() <= group_size
    sizes = np.bincount(fold_of, minlength=5)
    assert sizes.max() - sizes.min() <= 2 * group_size


def test_folds_depend_on_the_seed_alone(parts):
    (_, labels), _ = parts
    groups = np.arange(500)
    torch.manual_seed(1)
    first = assign_folds(labels, groups, seed=0)
    torch.manual_seed(2)
    assert np.array_equal(assign_folds(labels, groups, seed=0), first)
    assert not np.array_equal(assign_folds(labels, groups, seed=1), first)


def test_fewer_groups_than_folds_give_as_many_folds():
    assert sorted(assign_folds(np.array([0, 0, 1, 1, 0]), np.array([7, 7, 9, 9, 8]))) == [0, 0, 1, 1, 2]


def test_the_same_images_give_the_same_bits(parts):
    seen, labels = (part[:120] for part in parts[0])
    groups = np.arange(120)
    first, second = (fit_head_by_folds(seen, labels, groups, 10, seed=4, strengths=STRENGTHS[4:8]) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    assert (first.strength, first.log_loss) == (second.strength, second.log_loss)


def test_forty_classes_with_eight_images_in_the_smallest_are_learned():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), np.linspace(8, 30, 40).astype(int))
    centers = rng.normal(size=(40, 64))
    seen = (centers[labels] + rng.normal(size=(len(labels), 64))).astype(np.float32)
    weights = torch.from_numpy(len(labels) / (40 * np.bincount(labels))).float()
    head = fit_head_by_folds(seen, labels, np.arange(len(labels)), 40, weights)
    fresh = np.repeat(np.arange(40), 25)
    answers = head.logits((centers[fresh] + rng.normal(size=(1000, 64))).astype(np.float32)).argmax(dim=1).numpy()
    assert (answers == fresh).mean() > 0.9
    assert (answers == fresh)[:25].mean() > 0.8, "of the smallest class"


def test_a_search_ends_after_two_worse_strengths(parts, monkeypatch):
    (seen, labels), (others, wanted) = parts
    asked = []
    whole = Problem.solve

    def counted(problem, strength, slope=exact_head.EXACT_SLOPE):
        asked.append((strength, slope))
        return whole(problem, strength, slope)

    monkeypatch.setattr(Problem, "solve", counted)
    head = fit_head(Problem(seen, labels, 10), others, wanted)
    tried, (last, slope) = [strength for strength, _ in asked[:-1]], asked[-1]
    assert tried == list(STRENGTHS[: STRENGTHS.index(head.strength) + 3])
    assert (last, slope) == (head.strength, exact_head.EXACT_SLOPE), "what is kept is solved to the end"
