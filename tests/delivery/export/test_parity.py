"""The gate finds whatever goes wrong in exports elsewhere: each fault is planted in a graph, and refused."""

import copy

import pytest
import torch

from firstlight.delivery.export.graph import Graph
from firstlight.delivery.export.parity import BOUNDS, Checked, compared, require_parity
from firstlight.errors import ModelFileError, UserError
from firstlight.inference.engines.answers import Answers
from firstlight.inference.engines.torch_engine import TorchEngine


class GraphEngine:
    """Runs the graph of a model as it is exported."""

    name = "graph"

    def __init__(self, model):
        self.graph = Graph(model)

    def __call__(self, images):
        with torch.inference_mode():
            return Answers(*self.graph(images.permute(0, 2, 3, 1)))


def swap_channels(model):
    model.mean.copy_(model.mean.flip(0))
    model.std.copy_(model.std.flip(0))
    weight = next(layer.weight for layer in model.network.modules() if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        weight.copy_(weight.unflatten(1, (3, -1)).flip(1).flatten(1))


def shift_mean(model):
    model.mean.add_(0.01)


def forget_temperature(model):
    model.temperature.fill_(1)


def reorder_classes(model):
    head = model.network.head
    with torch.no_grad():
        head.weight.copy_(head.weight.roll(1, 0))
        head.bias.copy_(head.bias.roll(1, 0))


def forget_a_view(model):
    model.tta = None


FAULTS = [swap_channels, shift_mean, forget_temperature, reorder_classes, forget_a_view]


def images_of(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def test_the_graph_of_the_model_itself_passes(model, colored):
    checked = compared(TorchEngine(model), GraphEngine(model), images_of(colored))
    require_parity(checked, "float32")
    assert (checked.n, checked.top1_agreement) == (128, 1)
    assert checked.max_difference < 1e-6


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused(fault, model, colored):
    faulty = copy.deepcopy(model)
    fault(faulty)
    checked = compared(TorchEngine(model), GraphEngine(faulty), images_of(colored))
    with pytest.raises(UserError, match="the export does not answer as the model does: .*; nothing was written"):
        require_parity(checked, "float32")


@pytest.mark.parametrize("output", ["logits", "features", "strangeness"])
def test_an_output_besides_the_probabilities_counts_too(output, digit_run, digits):
    reference = TorchEngine(digit_run.model)

    def wrong(images):
        said = reference(images)
        return said._replace(**{output: getattr(said, output) * 1.1})

    checked = compared(reference, wrong, torch.from_numpy(digits[0][:64, None]))
    assert checked.max_difference == 0
    with pytest.raises(UserError, match=f"its {output} differ by"):
        require_parity(checked, "float32")


def test_numbers_that_are_none_are_refused(model, colored):
    broken = copy.deepcopy(model)
    broken.temperature.fill_(torch.nan)
    with pytest.raises(UserError, match="the export gives no finite number for 128 of 128 pictures; nothing was"):
        compared(TorchEngine(model), GraphEngine(broken), images_of(colored))
    with pytest.raises(ModelFileError, match="the model gives no finite number for 128 of 128 pictures; its weights"):
        compared(TorchEngine(broken), GraphEngine(model), images_of(colored))


def test_every_image_is_compared_in_batches_of_different_sizes(model, colored):
    sizes = []

    def recording(images):
        sizes.append(len(images))
        return TorchEngine(model)(images)

    compared(recording, GraphEngine(model), images_of(colored))
    assert sum(sizes) == 128
    assert {1, 3} < set(sizes)


@pytest.mark.parametrize("precision", sorted(BOUNDS.keys() - {"float32"}))
def test_a_coarser_precision_may_differ_for_one_picture_in_a_hundred(precision):
    require_parity(Checked(128, 127 / 128, 0.05, {}), precision)
    with pytest.raises(UserError, match="another class for 2 of 128 pictures"):
        require_parity(Checked(128, 126 / 128, 0.05, {}), precision)
