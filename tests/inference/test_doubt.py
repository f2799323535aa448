"""A model says which of its answers are unsure, and why."""

import pickle

import numpy as np
import pytest
import torch

from firstlight.errors import ImageError, RecipeError
from firstlight.inference.doubt import Doubt, Verdict, remaining_words
from firstlight.inference.engines.answers import Answers
from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.trust import Trust

CLASSES = ("coat", "dress", "shirt", "skirt")
DOUBTFUL = [0.02, 0.5, 0.03, 0.45]
SURE = [0.01, 0.02, 0.96, 0.01]


class Brightness:
    """A score of strangeness that is the mean of the pixels; not a real one."""

    references, directions = torch.zeros(1, 3), torch.zeros(0, 0)

    def __init__(self, threshold=100.0, factor=1.0):
        self.threshold, self.factor = threshold, factor

    def score(self, features, logits, images):
        return images.float().mean(dim=(1, 2, 3)) * self.factor

    def to(self, device):
        return self

    def tensors(self):
        return {}

    def header(self):
        return {}


def doubt(accept=None, *, by_class=False, **trust):
    return Doubt(CLASSES, Trust(**({"set_quantile": 0.6} | trust)), accept, by_class)


def verdicts(found: Doubt, *probabilities, images=None):
    given = torch.tensor(probabilities)
    pixels = torch.zeros(len(given), 1, 2, 2, dtype=torch.uint8) if images is None else images
    features, logits = torch.zeros(len(given), 3), given.log()
    strange = found.trust.strangeness
    score = None if strange is None else strange.score(features, logits, pixels)
    return found.verdicts(Answers(given, logits, features, score))


def test_a_set_of_more_than_one_class_is_unsure_and_names_them():
    doubtful, sure = verdicts(doubt(), DOUBTFUL, SURE)
    assert doubtful == Verdict(True, "between dress and skirt", ("dress", "skirt"), None)
    assert sure == Verdict(False, None, ("shirt",), None)


def test_reasons_name_up_to_three_classes():
    assert remaining_words(["a", "b"]) == "between a and b"
    assert remaining_words(["a", "b", "c"]) == "could be a, b, or c"
    assert remaining_words(list("abcd")) == "could be any of 4 classes"
    assert verdicts(doubt(set_quantile=1.0), SURE)[0].reason == "could be any of 4 classes"


def test_an_accepted_probability_decides_instead_of_the_set():
    assert [one.unsure for one in verdicts(doubt(0.5), DOUBTFUL, SURE)] == [False, False]
    doubtful, sure = verdicts(doubt(0.97), DOUBTFUL, SURE)
    assert doubtful.reason == "between dress and skirt"
    assert (sure.unsure, sure.reason) == (True, "its probability of 0.96 is below 0.97")
    assert sure.set == ("shirt",)


def test_a_probability_just_below_the_limit_is_not_rounded_up_to_it():
    (verdict,) = verdicts(doubt(0.95), [0.0251, 0.9499, 0.0125, 0.0125])
    assert verdict.reason == "its probability of 0.9499 is below 0.95"


def test_strangers_are_unsure_in_any_case():
    images = torch.tensor([100, 101], dtype=torch.uint8)[:, None, None, None].expand(2, 1, 2, 2)
    for accept in (None, 0.0):
        known, stranger = verdicts(doubt(accept, strangeness=Brightness()), SURE, SURE, images=images)
        assert known == Verdict(False, None, ("shirt",), 100.0)
        assert stranger == Verdict(True, "unlike anything in training", ("shirt",), 101.0)


def test_sets_by_class_use_the_quantile_of_each_class():
    quantiles = torch.tensor([0.1, 0.6, 0.1, 0.1], dtype=torch.float64)
    trust = {"class_quantiles": quantiles}
    assert verdicts(doubt(**trust), DOUBTFUL)[0].set == ("dress", "skirt")
    assert verdicts(doubt(by_class=True, **trust), DOUBTFUL)[0].set == ("dress",)
    quantiles = torch.tensor([0.99, 0.1, 0.1, 0.1], dtype=torch.float64)
    found = verdicts(doubt(by_class=True, class_quantiles=quantiles), DOUBTFUL)[0]
    assert found.set == ("dress", "coat"), "the answer itself is always in its set"


def test_sets_by_class_that_were_not_learned_are_refused(model):
    trusting = Classifier(architecture=model.architecture, classes=model.classes, input_size=model.input_size)
    trusting.trust = Trust(set_quantile=0.9)
    with pytest.raises(RecipeError, match="only learned sets for all pictures together"):
        Doubt.of(trusting, sets="by-class")


def test_a_predictor_says_what_the_model_does_not_know(model, digit_files):
    silent = Predictor(model)(digit_files[:3])
    assert {(one.unsure, one.reason, one.set, one.strangeness) for one in silent} == {(None,) * 4}
    trusting = Classifier(architecture=model.architecture, classes=model.classes, input_size=model.input_size)
    trusting.load_state_dict(model.state_dict())
    trusting.temperature.fill_(6)
    plain = Predictor(trusting, top=10)(digit_files)
    trusting.trust = Trust(set_quantile=0.9, strangeness=Brightness(85))
    predictor = Predictor(trusting, top=10)
    found = predictor(digit_files)
    assert found == pickle.loads(pickle.dumps(predictor))(digit_files)
    assert {(len(one.set) > 1, one.strangeness > 85) for one in found} >= {(False, False), (True, False), (False, True)}
    for one, other in zip(found, plain, strict=True):
        assert (one.top, one.label) == (other.top, other.label)
        possible = tuple(guess.label for guess in one.top if 1 - np.float32(guess.probability) <= 0.9)
        assert one.set == (possible or one.set)
        assert one.unsure == (len(one.set) > 1 or one.strangeness > 85) == (one.reason is not None)
        assert one.to_json()["set"] == one.set
    assert all(one.unsure for one in Predictor(trusting, accept=1)(digit_files))


BROKEN = {  # what is done to a model, by what becomes of its answers
    "probabilities": lambda model: model.temperature.fill_(1e-44),
    "a logit that no probability shows": lambda model: model.network.head.bias[0].fill_(-torch.inf),
    "features": lambda model: model.network.fc1.weight.fill_(3e38),
    "strangeness": lambda model: setattr(
        model, "trust", Trust(set_quantile=0.5, strangeness=Brightness(85, torch.inf))
    ),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_no_number_is_an_error_of_that_image(change, digit_pixels):
    broken = Classifier(architecture={"name": "mlp", "hidden": [4]}, classes=("a", "b"), input_size=(1, 8, 8))
    broken.trust = Trust(set_quantile=0.5)
    with torch.no_grad():
        change(broken)
    predictor = Predictor(broken)
    (found,) = predictor(digit_pixels[:1])
    assert "no finite number" in found.error
    assert (found.label, found.unsure, found.set) == (None, None, None)
    with pytest.raises(ImageError, match="image 0: the model gives no finite number"):
        predictor.probabilities(digit_pixels[:1])


def test_predictions_tell_their_doubt_in_a_data_frame_and_in_a_notebook(model, digit_files):
    trusting = Classifier(architecture=model.architecture, classes=model.classes, input_size=model.input_size)
    trusting.load_state_dict(model.state_dict())
    trusting.temperature.fill_(6)
    trusting.trust = Trust(set_quantile=0.9, strangeness=Brightness(85))
    found = Predictor(trusting)(digit_files)
    frame = found.to_pandas()
    assert list(frame.columns)[-4:] == ["unsure", "reason", "set", "strangeness"]
    assert frame["unsure"].tolist() == [one.unsure for one in found]
    assert frame["set"].tolist() == [one.set for one in found]
    unsure = next(one for one in found if one.unsure)
    sure = next(one for one in found if not one.unsure)
    assert f"unsure: {unsure.reason}" in unsure._repr_html_()
    assert "unsure" not in sure._repr_html_()
    assert any(one.reason in found._repr_html_() for one in found[:10] if one.unsure)


@pytest.mark.parametrize("accept", [-0.1, 1.5, float("nan"), "0.9", True])
def test_a_limit_that_is_no_probability_is_refused(accept, model):
    with pytest.raises(RecipeError, match="give a probability from 0 to 1") as raised:
        Predictor(model, accept=accept)
    assert raised.value.field == "accept"


def test_other_words_for_sets_are_refused(model):
    with pytest.raises(RecipeError, match="choose overall or by-class"):
        Predictor(model, sets="marginal")


@pytest.mark.parametrize("choice", [{"accept": 0.9}, {"sets": "by-class"}])
def test_a_model_that_cannot_tell_refuses_to_be_asked(choice, model):
    with pytest.raises(RecipeError, match="cannot tell when it is unsure: .*; train again"):
        Predictor(model, **choice)
