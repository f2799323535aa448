"""The words for pretrained networks mean published weights that everyone may use, smaller ones on a processor."""

import pytest

from firstlight.errors import RecipeError
from firstlight.models.backbones import EMBEDDED, better_backbones, choose_backbone
from firstlight.models.libraries import published


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("num_images", [10, 2_000, 2_001, 1_000_000])
@pytest.mark.parametrize("word", ["auto", "fast", "balanced", "best"])
def test_every_choice_is_a_published_network_that_everyone_may_use(word, num_images, device):
    record = published(choose_backbone(word, device, num_images))
    assert record.license == "apache-2.0"
    assert record.hub


def test_choices_follow_the_word_the_device_and_the_number_of_images():
    assert {choose_backbone("auto", *case) for case in (("cpu", 500), ("cpu", 60_000), ("cuda", 500))} == {EMBEDDED}
    assert len({choose_backbone(word, "cpu", 500) for word in ("fast", "balanced", "best")}) == 3
    assert len({choose_backbone("balanced", *case) for case in (("cpu", 500), ("cpu", 60_000), ("cuda", 500))}) == 3
    with pytest.raises(RecipeError, match="model = 'bset': there is no such network; did you mean best"):
        choose_backbone("bset", "cpu", 500)


def test_in_place_of_the_embedded_network_auto_takes_none_that_is_slower_than_balanced():
    assert better_backbones("cpu", 60_000) == (), "on many images every network that is better is slower"
    for case in (("cpu", 500), ("cuda", 60_000)):
        assert better_backbones(*case)[0] == choose_backbone("balanced", *case)
