"""Published weights get into the body as torchvision and timm themselves would load them, and nothing else does."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from firstlight.errors import ModelFileError
from firstlight.models.classifier import Classifier
from firstlight.models.downloads import find_weights
from firstlight.models.model_file import save_model
from firstlight.models.networks import build_network
from firstlight.models.pretrained import load_pretrained
from firstlight.models.spec import NetworkSpec

REAL = {"mobilenet_v2": "classifier.1", "squeezenet1_0": "classifier.1", "squeezenet1_1": "classifier.1"}


def build(name, side=64):
    torch.manual_seed(0)
    return build_network({"name": name, "head": "linear"}, (3, side, side), 5).eval()


def pictures(side=64):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))


def seen_by(head: nn.Module, network: nn.Module, images):
    """What a network's own head is given."""
    seen = []
    head.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0]))
    network(images)
    return seen[0]


def disturb(network: nn.Module) -> nn.Module:
    """Give the norms statistics that only a loaded file can bring."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return network.eval()


def load(network, name, path):
    spec = NetworkSpec.of(name)
    load_pretrained(network, spec, find_weights(spec, path))


@pytest.mark.parametrize("name", REAL)
def test_real_weights_give_the_features_of_torchvisions_own_model(name, shared_data):
    from torchvision import models

    path = shared_data / "weights" / f"{name}-imagenet.safetensors"
    network = build(f"torchvision:{name}", 128)
    head = network.head.weight.clone()
    load(network, f"torchvision:{name}", path)
    truth = models.get_model(name)
    truth.load_state_dict(load_file(path))
    images = pictures(128)
    with torch.inference_mode():
        seen = seen_by(truth.get_submodule(REAL[name]), truth.eval(), images)
        seen = seen.mean((2, 3)) if seen.ndim == 4 else seen
        features = network.features(images)
    torch.testing.assert_close(features, seen, rtol=1e-5, atol=1e-5 * seen.abs().max().item())
    assert features.std() > 0.01
    assert torch.equal(network.head.weight, head), "the new head is not touched"


@pytest.mark.parametrize("name", [pytest.param("googlenet", marks=pytest.mark.slow), "densenet121"])
def test_files_as_torchvision_publishes_them_load(name, tmp_path):
    """With auxiliary heads; with old names of layers and no counts of batches."""
    from torchvision import models

    torch.manual_seed(1)
    options = {"transform_input": True, "init_weights": False} if name == "googlenet" else {}
    truth = disturb(models.get_model(name, weights=None, **options))
    state = truth.state_dict()
    if name == "densenet121":
        state = {
            path.replace("norm1.", "norm.1.").replace("norm2.", "norm.2.").replace("conv1.", "conv.1."): tensor
            for path, tensor in state.items()
            if "num_batches_tracked" not in path
        }
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    else:
        assert any(path.startswith("aux1.") for path in state)
    torch.save(state, tmp_path / "published.pth")
    network = build(f"torchvision:{name}")
    load(network, f"torchvision:{name}", tmp_path / "published.pth")
    with torch.inference_mode():
        seen = seen_by(truth.classifier if name == "densenet121" else truth.fc, truth, pictures())
        torch.testing.assert_close(network.features(pictures()), seen, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("timm:vit_tiny_patch16_224", 64),
        pytest.param("timm:vit_tiny_patch16_224", 224, marks=pytest.mark.slow),
        pytest.param("timm:swin_tiny_patch4_window7_224", 96, marks=pytest.mark.slow),
        ("timm:mobilenetv4_conv_small", 64),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of timm, when it loads a swin itself
def test_weights_for_another_size_are_resampled_as_timm_does(name, side, tmp_path):
    import timm

    model = name.partition(":")[2]
    torch.manual_seed(1)
    made = timm.create_model(model, num_classes=3)
    if "vit" in model:
        nn.init.normal_(made.pos_embed)
    save_file({path: tensor.contiguous() for path, tensor in made.state_dict().items()}, tmp_path / "a.safetensors")
    resized = {} if side == 224 or "mobilenet" in model else {"img_size": side}
    overlay = {"file": str(tmp_path / "a.safetensors"), "custom_load": False, "num_classes": 3}
    truth = timm.create_model(model, pretrained=True, num_classes=3, pretrained_cfg_overlay=overlay, **resized).eval()
    network = build(name, side)
    load(network, name, tmp_path / "a.safetensors")
    images = pictures(side)
    with torch.inference_mode():
        seen = truth.forward_head(truth.forward_features(images), pre_logits=True)
        torch.testing.assert_close(network.features(images), seen, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrapped", ["model.", "module.", "backbone.net.", ""])
def test_other_tools_names_number_types_and_classes_do_not_matter(wrapped, tmp_path):
    from torchvision import models

    truth = models.squeezenet1_1(num_classes=17).half()
    state = {f"{wrapped}{path}": tensor for path, tensor in truth.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "lightning.ckpt")
    network = build("torchvision:squeezenet1_1")
    load(network, "torchvision:squeezenet1_1", tmp_path / "lightning.ckpt")
    for path, tensor in network.body.state_dict().items():
        assert torch.equal(tensor, truth.state_dict()[path].float())


def test_the_body_of_our_own_model_file_loads(tmp_path):
    architecture = {"name": "torchvision:squeezenet1_1", "head": "linear", "side": 64}
    made = Classifier(architecture=architecture, classes=("a", "b"), input_size=(1, 28, 28))
    save_model(tmp_path / "model.safetensors", made)
    network = build("torchvision:squeezenet1_1")
    load(network, "torchvision:squeezenet1_1", tmp_path / "model.safetensors")
    torch.testing.assert_close(network.body.state_dict(), made.network.body.state_dict(), rtol=0, atol=0)


def test_weights_of_another_network_are_one_clear_line_and_change_nothing(tmp_path):
    from torchvision import models

    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "squeezenet1_1-b8a52dc0.pth")
    for name in ("torchvision:squeezenet1_0", "torchvision:mobilenet_v2"):
        network = build(name)
        before = {path: tensor.clone() for path, tensor in network.state_dict().items()}
        with pytest.raises(ModelFileError, match="does not match this network: ") as raised:
            load(network, name, tmp_path / "squeezenet1_1-b8a52dc0.pth")
        assert "\n" not in str(raised.value)
        torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
        if name == "torchvision:mobilenet_v2":
            assert "features.0.0.weight is missing" in str(raised.value)
            assert "another network's weights than torchvision:mobilenet_v2's" in str(raised.value)
            assert "by its name those of torchvision:squeezenet1_1" in str(raised.value)


def test_a_missing_and_a_surplus_weight_are_named(tmp_path):
    from torchvision import models

    state = models.squeezenet1_1().state_dict()
    del state["features.3.squeeze.bias"]
    torch.save(state | {"features.99.weight": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(ModelFileError, match=r"3.squeeze.bias is missing; the network has no features.99.weight; it"):
        load(build("torchvision:squeezenet1_1"), "torchvision:squeezenet1_1", tmp_path / "a.pth")


def test_positions_that_nobody_can_resample_are_told_as_images_of_another_size(tmp_path):
    name = "timm:mixer_s32_224"
    made = build(name, 64)
    torch.save(made.body.state_dict(), tmp_path / "a.pth")
    with pytest.raises(ModelFileError, match=f"another picture size .{name} was made for 224 x 224"):
        load(build(name, 96), name, tmp_path / "a.pth")
