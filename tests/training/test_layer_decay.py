"""Layer-wise training: blocks cover a body once and in order; frozen weights keep every bit, trained ones move."""

from functools import cache
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.data.loader import Loader
from firstlight.models.classifier import Classifier
from firstlight.models.library_network import build_library_network
from firstlight.training.defaults import complete
from firstlight.training.layer_decay import (
    LAST_FRACTION,
    MIN_LIVE_BATCH,
    MIN_LIVE_IMAGES,
    UNFREEZING_FRACTION,
    blocks,
    freeze,
    layer_schedules,
    norms_are_live,
)
from firstlight.training.loop import train_epochs
from firstlight.training.recipe import Recipe
from firstlight.training.state import Epoch, TrainState

NETWORKS = {
    "torchvision:resnet18": 224,
    "torchvision:vgg11_bn": 224,
    "torchvision:densenet121": 224,
    "torchvision:vit_b_32": 224,
    "torchvision:mobilenet_v2": 224,
    "torchvision:squeezenet1_1": 224,
    "torchvision:inception_v3": 299,
    "torchvision:swin_t": 224,
    "timm:convnext_atto": 224,
    "timm:vit_tiny_patch16_224": 224,
    "timm:mobilenetv4_conv_small": 224,
}


@cache
def on_meta(name):
    """Shapes alone; nobody here changes them."""
    with torch.device("meta"):
        return build_library_network(name, (3, NETWORKS[name], NETWORKS[name]), 5)


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_hold_every_weight_of_the_body_once_and_in_order(name):
    body = on_meta(name).body
    found = blocks(body)
    assert [id(weights) for weights in chain(*found)] == [id(weights) for weights in body.parameters()]
    assert all(found)
    assert len(found) >= 5, "too few to learn at rates of their own"


@pytest.mark.parametrize("name", NETWORKS)
def test_no_block_that_could_be_opened_holds_half_the_weights(name):
    body = on_meta(name).body
    total = sum(weights.numel() for weights in body.parameters())
    single = {id(weights) for layer in body.modules() if not list(layer.children()) for weights in layer.parameters()}
    for block in blocks(body):
        if sum(weights.numel() for weights in block) > total / 2:
            assert len(block) <= 3 and all(id(weights) in single for weights in block)


def test_blocks_of_a_residual_network_are_its_residual_blocks():
    body = on_meta("torchvision:resnet18").body
    wanted = [body.conv1, body.bn1, *body.layer1, *body.layer2, *body.layer3, *body.layer4]
    assert [[id(weights) for weights in block] for block in blocks(body)] == [
        [id(weights) for weights in module.parameters()] for module in wanted
    ]


def test_blocks_are_those_of_the_order_in_which_images_pass():
    """Seen by hooks: the first use of a weight comes no later than that of the blocks behind it."""
    network = build_library_network("torchvision:squeezenet1_1", (3, 64, 64), 5)
    used = []
    for layer in network.body.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda layer, *_: used.extend(map(id, layer.parameters())))
    network(torch.zeros(2, 3, 64, 64))
    assert used == [id(weights) for weights in chain(*blocks(network.body))]


@pytest.mark.parametrize("gradual", [False, True])
@pytest.mark.parametrize("layer_decay", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("name", ["torchvision:mobilenet_v2", "torchvision:vit_b_32"])
def test_the_deeper_the_faster_and_the_sooner(name, layer_decay, gradual):
    network = on_meta(name)
    given = layer_schedules(network.body, layer_decay, gradual=gradual)
    assert set(given) == {id(weights) for weights in network.body.parameters()}
    of_blocks = []
    for block in blocks(network.body):
        (schedule,) = {given[id(weights)] for weights in block}
        of_blocks.append(schedule)
    assert of_blocks[0].rate == pytest.approx(layer_decay)
    assert of_blocks[0].start == (UNFREEZING_FRACTION if gradual else 0.0)
    ratios = [after.rate / before.rate for before, after in pairwise(of_blocks)]
    assert ratios == pytest.approx([layer_decay ** (-1 / len(of_blocks))] * len(ratios))
    assert all(0 <= after.start <= before.start for before, after in pairwise(of_blocks))
    assert of_blocks[-1].rate <= 1.0


@pytest.fixture
def classifier(backbone):
    """Random weights, and batch norms whose statistics are not those they begin with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Classifier(
            architecture={"name": backbone.name, "head": "linear"},
            classes=tuple("0123456789"),
            input_size=(3, 32, 32),
        )
        for layer in made.network.body.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.uniform_(-0.5, 0.5)
                layer.running_var.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="module")
def loaders(digits):
    images, labels = digits
    pixels = np.repeat(np.kron(images[:80], np.ones((1, 4, 4), np.uint8))[..., None], 3, axis=3)
    rows, device = np.arange(80), torch.device("cpu")
    learned = Loader(pixels, labels[:80], rows[:64], batch_size=32, device=device, seed=0, drop_last=True)
    return learned, Loader(pixels, labels[:80], rows[64:], device=device)


def recipe_for(**choices):
    defaults = {"epochs": 1, "batch_size": 32, "lr": 0.01, "schedule": "constant", "warmup": 0.0}
    return complete(Recipe.of(model="timm:resnet18", **defaults | choices), color=True, images=64)


def epochs_of(classifier, loaders, recipe):
    """Train, and yield the state after every epoch."""
    state = TrainState.begin(classifier, recipe)
    for event in train_epochs(state, *loaders, recipe):
        if isinstance(event, Epoch):
            yield state


def moved(before, module):
    """The names of the weights and statistics that are not what they were, to the last bit."""
    return {name for name, tensor in module.state_dict().items() if not torch.equal(before[name], tensor)}


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(
    "choices",
    [{"optimizer": "adamw"}, {"optimizer": "adamw", "ema": 0.9}, {"optimizer": "sgd"}, {"optimizer": "muon"}],
    ids=["adamw", "average", "sgd", "muon"],
)
@pytest.mark.parametrize("live_norms", [False, True])
@pytest.mark.parametrize("learning", ["head", "last", "all"])
def test_what_is_frozen_stays_to_the_last_bit_and_what_learns_moves(learning, live_norms, choices, classifier, loaders):
    network = classifier.network
    freeze(network.body, learning, live_norms=live_norms)
    before = state(network)
    for trained in epochs_of(classifier, loaders, recipe_for(**choices)):
        changes = moved(before, trained.scored.network)

    found = blocks(network.body)
    count = {"head": 0, "last": int(np.ceil(LAST_FRACTION * len(found))), "all": len(found)}[learning]
    name_of = {id(weights): f"body.{name}" for name, weights in network.body.named_parameters()}
    learns = {name_of[id(weights)] for block in found[len(found) - count :] for weights in block}
    norms = {f"body.{name}" for name, layer in network.body.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    if not live_norms:
        learns -= {f"{norm}.{part}" for norm in norms for part in ("weight", "bias")}
    live = {f"{norm}.{part}" for norm in norms for part in STATISTICS if f"{norm}.weight" in learns}
    allowed = learns | live | {"head.weight", "head.bias"}
    assert changes <= allowed
    # a gradient may be too small for what is 1 at first to move, as the factors of norms are
    assert {name for name in allowed if before[name].ndim > 1 or name.endswith(STATISTICS)} <= changes


def test_what_is_frozen_is_scored_as_it_was_published(classifier, loaders):
    """Batch norms that took each batch's statistics in training would make other features than those of the head."""
    freeze(classifier.network.body, "head", live_norms=False)
    images = next(iter(loaders[0].epoch())).images
    wanted = classifier.eval().network.features(classifier.normalize(images))
    assert torch.equal(classifier.train().network.features(classifier.normalize(images)), wanted)
    assert classifier.network.training, "the whole is in training mode all the same"


def test_dropout_before_the_head_works_in_training_unless_all_before_it_is_frozen():
    network = build_library_network("torchvision:squeezenet1_1", (3, 32, 32), 5)
    freeze(network.body, "all", live_norms=True)
    (dropout,) = (layer for layer in network.train().body.modules() if isinstance(layer, nn.Dropout))
    assert dropout.training
    freeze(network.body, "head", live_norms=True)
    assert not any(layer.training for layer in network.train().body.modules())


def test_freezing_again_is_as_if_it_were_the_first_time(classifier):
    for learning, live_norms in (("all", True), ("head", False), ("last", False), ("all", False), ("last", True)):
        freeze(classifier.network.body, learning, live_norms=live_norms)
        learns = [weights.requires_grad for weights in classifier.network.parameters()]
        assert classifier.network.head.weight.requires_grad
        classifier.network.requires_grad_(True)
        freeze(classifier.network.body, learning, live_norms=live_norms)
        assert [weights.requires_grad for weights in classifier.network.parameters()] == learns


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_gradual_unfreezing_leaves_a_layer_to_the_last_bit_until_its_turn(optimizer, classifier, loaders):
    epochs, network = 10, classifier.network
    learned = Loader(
        loaders[0].pixels, np.arange(80) % 10, np.arange(32), batch_size=32, device=torch.device("cpu"), seed=0
    )
    freeze(network.body, "all", live_norms=False)
    given = layer_schedules(network.body, 0.5, gradual=True)
    recipe = recipe_for(optimizer=optimizer, epochs=epochs, layer_decay=0.5, unfreeze="gradual", lr=1e-3)
    before = {id(weights): weights.detach().clone() for weights in network.parameters()}
    waited = 0
    for trained in epochs_of(classifier, (learned, loaders[1]), recipe):
        row = trained.rows[-1]
        last_done = (row.epoch - 1) / epochs  # one step per epoch
        for block in blocks(network.body):
            learns = [weights for weights in block if weights.requires_grad]
            still = [torch.equal(weights, before[id(weights)]) for weights in learns]
            if not learns:
                continue
            if last_done < given[id(learns[0])].start:
                assert all(still), f"epoch {row.epoch}"
                waited += 1
            else:
                assert not all(still), f"epoch {row.epoch}"
        assert not torch.equal(network.head.weight, before[id(network.head.weight)])
    assert waited > 5


@pytest.mark.parametrize("learning", ["head", "last", "all"])
def test_batch_norms_are_live_only_if_all_learns_from_enough_images_or_if_it_is_asked_for(learning):
    many = {"batch_size": MIN_LIVE_BATCH, "images": MIN_LIVE_IMAGES}
    assert norms_are_live("auto", learning, **many) is (learning == "all")
    assert not norms_are_live("auto", learning, **many | {"batch_size": MIN_LIVE_BATCH - 1})
    assert not norms_are_live("auto", learning, **many | {"images": MIN_LIVE_IMAGES - 1})
    assert norms_are_live("live", learning, batch_size=2, images=4)
    assert not norms_are_live("frozen", learning, **many)
