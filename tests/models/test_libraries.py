"""What is known of published weights is what timm and torchvision themselves say."""

import pytest
import torch

from firstlight.errors import RecipeError
from firstlight.models.libraries import LIBRARIES, find_network, published
from firstlight.models.recipe import MEMBERS

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_record_of_torchvision_is_its_own():
    record = published("torchvision:resnet50")
    assert (record.input_size, record.mean, record.std) == ((3, 224, 224), *IMAGENET)
    assert record.crop == pytest.approx(224 / 232)
    assert record.license == "bsd-3-clause"
    assert record.url == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    assert (record.hub, record.file) == ("", "resnet50-11ad3fa6.pth")


def test_a_tag_chooses_among_the_weights_of_torchvision():
    assert published("torchvision:resnet50.IMAGENET1K_V1").file == "resnet50-0676ba61.pth"
    assert published("torchvision:resnet50.IMAGENET1K_V1").crop == pytest.approx(224 / 256)
    assert published("torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1").input_size == (3, 384, 384)
    assert published("torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1").license == "cc-by-nc-4.0"
    with pytest.raises(RecipeError, match="did you mean torchvision:resnet50"):
        published("torchvision:resnet50.IMAGENET1K_V9")


def test_a_record_of_timm_is_its_own():
    record = published("timm:resnet50.a1_in1k")
    assert (record.input_size, record.crop, record.license) == ((3, 224, 224), 0.95, "apache-2.0")
    assert (record.hub, record.file) == ("timm/resnet50.a1_in1k", "model.safetensors")
    assert record.url == "https://huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors"
    assert published("timm:convnextv2_tiny").license == "cc-by-nc-4.0"


def test_gray_images_are_normalized_by_the_average_of_the_channels():
    record = published("torchvision:mobilenet_v2")
    assert record.normalization(3) == IMAGENET
    (mean,), (std,) = record.normalization(1)
    assert mean == pytest.approx(0.449)
    assert std == pytest.approx(0.226)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_network_has_a_complete_record(library):
    published_at_all = 0
    for name in LIBRARIES[library].names():
        record = LIBRARIES[library].published(name)
        assert len(record.mean) == len(record.std) == record.input_size[0] == 3, name
        assert 0.5 < record.crop <= 1, name
        assert record.license == record.license.lower().strip() != "", name
        assert bool(record.url) == bool(record.file), name
        published_at_all += bool(record.url)
    assert published_at_all > 100


def test_old_densenets_and_other_sizes_are_converted_for_torchvision():
    from torchvision.models.vision_transformer import VisionTransformer

    convert = LIBRARIES["torchvision"].convert
    old = {
        "features.denseblock1.denselayer12.norm.1.weight": torch.ones(1),
        "features.denseblock1.denselayer12.conv.2.weight": torch.ones(1),
        "features.norm0.weight": torch.ones(1),
    }
    assert list(convert("densenet121", torch.nn.Identity(), old)) == [
        "features.denseblock1.denselayer12.norm1.weight",
        "features.denseblock1.denselayer12.conv2.weight",
        "features.norm0.weight",
    ]
    small = VisionTransformer(64, 16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8)
    positions = torch.zeros(1, 1 + 14 * 14, 8)
    positions[:, 1:, :] = torch.linspace(0, 1, 14).repeat_interleave(14)[:, None]  # the row's height in the picture
    got = convert("vit_b_16", small, {"encoder.pos_embedding": positions})["encoder.pos_embedding"]
    assert got.shape == small.encoder.pos_embedding.shape
    torch.testing.assert_close(got[0, 1::4, 0], torch.linspace(0, 1, 4), atol=0.02, rtol=0)


@pytest.mark.parametrize("member", sorted(set(MEMBERS.values())))
def test_what_is_suggested_for_a_family_is_a_network(member):
    assert find_network(f"timm:{member}")
