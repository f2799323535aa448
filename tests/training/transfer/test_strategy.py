"""The four cases follow from what was measured, and the backbone's own confidence is torchvision's."""

import json
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from firstlight.data.dataset import open_dataset
from firstlight.data.recipe import DataRecipe
from firstlight.data.sources import load_data
from firstlight.evaluation.intervals import proportion
from firstlight.models.classifier import Classifier
from firstlight.models.downloads import find_weights
from firstlight.models.library_network import LibraryNetwork
from firstlight.models.pretrained import load_pretrained, read_weights
from firstlight.models.spec import NetworkSpec
from firstlight.models.weights import load_state_dict_file
from firstlight.runs.record import CurvePoint, LearningCurve
from firstlight.training.transfer.features import extract_features
from firstlight.training.transfer.strategy import (
    ADVICE,
    FEW_DROP,
    LADDER_PASSES,
    NEAR_CONFIDENCE,
    decide_case,
    duration_words,
    next_step,
    own_confidence,
)


def curve_that_falls(drop):
    score = proportion(8, 10)
    return LearningCurve((CurvePoint(100, score, 0.5), CurvePoint(200, score, 0.5 * (1 - drop))), ((400, 0.9),))


def test_a_handful_of_images_is_never_many():
    assert decide_case(None, curve_that_falls(-0.3), num_images=99).images == "few"
    assert decide_case(None, curve_that_falls(-0.3), num_images=100).images == "many"


@pytest.mark.parametrize("drop", [FEW_DROP + 0.01, FEW_DROP - 0.01, -0.2])
@pytest.mark.parametrize("confidence", [NEAR_CONFIDENCE, NEAR_CONFIDENCE - 0.01, None])
def test_the_case_is_told_from_the_last_drop_and_the_confidence(drop, confidence):
    case = decide_case(confidence, curve_that_falls(drop), num_images=100)
    assert case.images == ("few" if drop > FEW_DROP else "many")
    assert case.domain == ("unknown" if confidence is None else "near" if confidence == NEAR_CONFIDENCE else "far")
    assert case.drop == pytest.approx(drop)
    answer = json.loads(json.dumps(case.to_json(), allow_nan=False))
    assert answer["advice"] == ADVICE[case.images, case.domain]
    assert set(answer) == {"images", "domain", "drop", "confidence", "fine_tuned", "advice"}


def test_every_case_has_its_own_advice_in_one_line():
    assert set(ADVICE) == {(size, domain) for size in ("few", "many") for domain in ("near", "far", "unknown")}
    assert len(set(ADVICE.values())) == len(ADVICE)
    assert all("\n" not in advice for advice in ADVICE.values())


@pytest.mark.parametrize("drop", [FEW_DROP + 0.01, FEW_DROP - 0.01])
@pytest.mark.parametrize("confidence", [0.9, 0.1, None])
def test_what_was_just_done_is_not_advised(drop, confidence):
    case = decide_case(confidence, curve_that_falls(drop), num_images=100, fine_tuned=True)
    assert "ladder" not in case.advice
    assert "fine" not in case.advice


def test_the_next_step_is_told_with_its_gain_and_time_only_where_it_may_pay():
    words = next_step(proportion(280, 341), 750, 30.0)
    assert words.startswith("fine-tuning gained ")
    assert words.endswith(" of accuracy on sets like this: add `ladder` (" + duration_words(LADDER_PASSES * 30) + ")")
    assert next_step(proportion(340, 341), 750, 30.0) == "", "there is hardly an error left"
    assert next_step(proportion(28, 34), 75, 3.0) == "", "so few pictures cannot tell whether it gained anything"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (20, "less than a minute"), (60, "about a minute"), (350, "about 6 minutes"), (89 * 60, "about 89 minutes"),
        (6 * 3600, "about 6 hours"),
    ],
)  # fmt: skip
def test_a_time_is_told_as_a_person_would(seconds, words):
    assert duration_words(seconds) == words


def in_a_file(path, weight, bias, **others):
    save_file({"fc.weight": weight, "fc.bias": bias, **others}, path)
    return path


class Head(NamedTuple):
    """A published head, features, and how confident it is about them."""

    weight: torch.Tensor
    bias: torch.Tensor
    features: np.ndarray
    truth: float


@pytest.fixture
def head():
    """A head of 120 classes on 16 features, with the features of 40 pictures and the truth about them."""
    torch.manual_seed(0)
    layer, seen = nn.Linear(16, 120), 20 * torch.randn(40, 16)
    with torch.no_grad():
        truth = layer(seen).softmax(dim=1).amax(dim=1).mean().item()
    return Head(layer.weight.detach(), layer.bias.detach(), seen.numpy(), truth)


NETWORK = LibraryNetwork(nn.Identity(), nn.Identity(), nn.Linear(16, 2), "fc")


def confidence_of(file, features):
    return own_confidence(NETWORK, load_state_dict_file(file), features)


def test_the_confidence_is_the_mean_of_the_highest_probabilities(head, tmp_path):
    assert 0.1 < head.truth < 0.9
    found = confidence_of(in_a_file(tmp_path / "a.safetensors", head.weight, head.bias), head.features)
    assert found == pytest.approx(head.truth, abs=1e-4)


def test_a_head_that_is_a_convolution_or_half_precision_serves_as_well(head, tmp_path):
    filters = in_a_file(tmp_path / "conv.safetensors", head.weight[:, :, None, None].clone(), head.bias)
    assert confidence_of(filters, head.features) == pytest.approx(head.truth, abs=1e-4)
    half = in_a_file(tmp_path / "half.safetensors", head.weight.half(), head.bias.half())
    assert confidence_of(half, head.features) == pytest.approx(head.truth, abs=1e-2)


@pytest.mark.parametrize("before", ["model.", "module.network."])
def test_a_head_is_found_behind_what_a_larger_model_has_put_before_its_name(before, head, tmp_path):
    file = tmp_path / "wrapped.safetensors"
    save_file({f"{before}fc.weight": head.weight, f"{before}fc.bias": head.bias}, file)
    assert confidence_of(file, head.features) == pytest.approx(head.truth, abs=1e-4)


@pytest.mark.parametrize("other", ["AuxLogits.fc", "AuxLogits.deep.fc", "a_layer_inside.fc"])
@pytest.mark.parametrize("features", [16, 12], ids=["as many features", "other features"])
def test_an_auxiliary_head_is_not_taken_for_the_head(other, features, head, tmp_path):
    aside = {f"{other}.weight": torch.zeros(120, features), f"{other}.bias": torch.zeros(120)}
    file = in_a_file(tmp_path / "inception.safetensors", head.weight, head.bias, **aside)
    assert confidence_of(file, head.features) == pytest.approx(head.truth, abs=1e-4)


def test_a_name_that_only_ends_alike_is_no_head(head, tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"metafc.weight": head.weight, "metafc.bias": head.bias}, file)
    assert confidence_of(file, head.features) is None


def test_without_a_head_of_a_hundred_classes_nothing_is_told(head, tmp_path):
    without_bias = tmp_path / "bias.safetensors"
    save_file({"fc.weight": head.weight}, without_bias)
    body_alone = tmp_path / "body.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, body_alone)
    for file in (
        without_bias,
        body_alone,
        in_a_file(tmp_path / "few.safetensors", head.weight[:99].clone(), head.bias[:99].clone()),
        in_a_file(tmp_path / "narrow.safetensors", head.weight[:, :15].clone(), head.bias),
    ):
        assert confidence_of(file, head.features) is None


@pytest.mark.slow
def test_of_real_weights_it_is_the_confidence_of_torchvisions_whole_network(shared_data, digits):
    file = shared_data / "weights" / "mobilenet_v2-imagenet.safetensors"
    if not file.exists():
        pytest.skip(f"the real weights are not here: {file}")
    from torchvision.models import mobilenet_v2

    name, (images, labels) = "torchvision:mobilenet_v2", digits
    pixels = np.repeat(images[:40, ..., None], 3, axis=3)
    samples = load_data((pixels, labels[:40] % 2))
    data = open_dataset(samples, DataRecipe(img_size=64))
    rows = np.arange(40)
    classifier = Classifier(
        architecture={"name": name, "head": "linear"}, classes=samples.classes, input_size=(3, 64, 64)
    )
    spec = NetworkSpec.of(name)
    weights = find_weights(spec, file)
    load_pretrained(classifier.network, spec, weights)
    classifier.normalize_as(*spec.normalization(3))
    found = own_confidence(
        classifier.network, read_weights(weights), extract_features(classifier, data, rows, weights.sha256)
    )

    whole = mobilenet_v2()
    whole.load_state_dict(load_state_dict_file(file))
    pictures = torch.from_numpy(np.array(data.store.pixels[rows])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        truth = whole.eval()(classifier.normalize(pictures)).softmax(dim=1).amax(dim=1).mean().item()
    assert found == pytest.approx(truth, abs=2e-4)
