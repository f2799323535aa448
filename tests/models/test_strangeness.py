"""The score of strangers as it travels: the same after a round trip, and hostile parts refused."""

import pytest
import torch

from firstlight.models.strangeness import (
    FAR_WEIGHT,
    Scale,
    Strangeness,
    coarse,
    coarse_size,
    combined,
    neighbor_distances,
    residuals,
    undecided,
)

SCALES = {"head": [0.0, 1.0], "features": [0.0, 1.0]}


@pytest.fixture
def strangeness():
    random = torch.Generator().manual_seed(0)
    references = torch.nn.functional.normalize(torch.randn(20, 5, generator=random), dim=1).half().float()
    directions = torch.linalg.qr(torch.randn(12, 3, generator=random)).Q.T.half().float()
    return Strangeness(
        references=references,
        neighbor=3,
        origin=torch.full((5,), 0.25),
        center=torch.full((12,), 0.5),
        directions=directions,
        scales={"head": Scale(-1.0, 0.5), "features": Scale(0.4, 0.2), "pixels": Scale(0.1, 0.05)},
        threshold=1.25,
        kept=(0.95, 0.9, 0.98, 100),
    )


def some():
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (7, 3, 2, 2), generator=random, dtype=torch.uint8)
    return torch.randn(7, 5, generator=random), torch.randn(7, 2, generator=random), images


def test_it_is_the_same_after_a_round_trip(strangeness):
    back = Strangeness.from_parts(strangeness.header(), strangeness.tensors())
    assert torch.equal(back.score(*some()), strangeness.score(*some()))
    assert (back.threshold, back.kept) == (strangeness.threshold, strangeness.kept)


def test_distances_are_those_of_a_slow_loop(strangeness):
    features, _, images = some()
    for feature, distance in zip(features, neighbor_distances(features, strangeness.references, 3), strict=True):
        slow = sorted(1 - torch.cosine_similarity(feature, one, dim=0).item() for one in strangeness.references)
        assert distance.item() == pytest.approx(slow[2], abs=2e-3)
    directions = torch.linalg.qr(torch.randn(12, 3)).Q.T
    for image, distance in zip(images, residuals(coarse(images), strangeness.center, directions), strict=True):
        off = image.flatten() / 255 - 0.5
        left = off - sum((off @ one) * one for one in directions)
        assert distance.item() == pytest.approx(left.square().mean().sqrt().item(), abs=1e-5)


def test_the_head_is_undecided_where_its_largest_logit_is_a_small_cosine():
    weight, features = torch.randn(4, 5), torch.randn(6, 5)
    above = weight - weight.mean(dim=0)
    slow = [max((feature @ one / feature.norm()).item() for one in above) for feature in features]
    assert (-undecided(features, features @ weight.T)).tolist() == pytest.approx(slow, abs=1e-5)
    longer = undecided(3 * features, 3 * features @ weight.T)
    assert torch.allclose(longer, undecided(features, features @ weight.T), atol=1e-6)
    assert undecided(torch.zeros(2, 5), torch.zeros(2, 4)).tolist() == [0, 0]


def test_the_strangeness_is_that_of_the_head_until_an_image_is_far():
    scales = {"head": Scale(0, 1), "features": Scale(0, 1), "pixels": Scale(0, 2)}
    head, features, pixels = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([1.0, 1.5, 0]), torch.tensor([2.0, 0, 4])
    found = combined({"head": head, "features": features, "pixels": pixels}, scales)
    assert found.tolist() == [0.5, 0.5 + 0.5 * FAR_WEIGHT, 0.5 + FAR_WEIGHT]


def test_large_images_are_averaged_and_small_ones_stay():
    assert coarse(torch.zeros(2, 3, 224, 224, dtype=torch.uint8)).shape == (2, coarse_size((3, 224, 224)))
    assert coarse_size((1, 8, 9)) == 72
    for height, width in ((28, 28), (100, 17), (16, 33), (1, 250)):
        assert coarse(torch.zeros(2, 1, height, width, dtype=torch.uint8)).shape == (2, coarse_size((1, height, width)))
    assert coarse(torch.full((1, 1, 33, 33), 255, dtype=torch.uint8)).unique().tolist() == [1]
    ramp = torch.arange(32, dtype=torch.uint8).expand(1, 1, 32, 32)
    assert coarse(ramp)[0, :2].mul(255).tolist() == pytest.approx([0.5, 2.5])


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("neighbor", 0), ("neighbor", 21), ("neighbor", True), ("neighbor", 2.0), ("neighbor", None),
        ("scales", {}), ("scales", {"features": [0, 1]}), ("scales", SCALES | {"x": [0, 1]}), ("scales", [1]),
        ("scales", SCALES | {"head": [0, 0]}), ("scales", SCALES | {"head": [0, -1]}), ("scales", None),
        ("scales", SCALES | {"head": [0]}), ("scales", SCALES | {"head": [0, "1"]}),
        ("threshold", None), ("threshold", "1"), ("threshold", True), ("threshold", 10**400),
        ("kept", [0.9, 0.95, 0.98, 3]), ("kept", [0.9, 0.8]), ("kept", [0.9, 0.8, 1.1, 3]),
        ("kept", [0.9, 0.8, 1, 3.5]),
    ],
)  # fmt: skip
def test_impossible_headers_are_refused(strangeness, part, value):
    with pytest.raises(ValueError, match=part):
        Strangeness.from_parts(strangeness.header() | {part: value}, strangeness.tensors())


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("references", torch.zeros(0, 5).half()), ("references", torch.zeros(201, 5).half()),
        ("references", torch.zeros(5).half()), ("references", torch.zeros(3, 5)), ("references", None),
        ("references", torch.full((20, 5), torch.nan).half()), ("references", torch.zeros(20, 0).half()),
        ("origin", torch.zeros(4).half()), ("center", torch.zeros(11).half()),
        ("directions", torch.zeros(2, 11).half()), ("directions", None),
        ("unknown", torch.zeros(1).half()),
    ],
)  # fmt: skip
def test_impossible_tensors_are_refused(strangeness, part, value):
    tensors = {name: tensor for name, tensor in (strangeness.tensors() | {part: value}).items() if tensor is not None}
    with pytest.raises(ValueError, match="of the strangeness is missing or impossible"):
        Strangeness.from_parts(strangeness.header(), tensors)


def test_it_must_be_for_the_same_network(strangeness):
    strangeness.require_fit(5, (3, 2, 2))
    with pytest.raises(ValueError, match="references"):
        strangeness.require_fit(6, (3, 2, 2))
    with pytest.raises(ValueError, match="center"):
        strangeness.require_fit(5, (1, 2, 2))
