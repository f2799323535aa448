"""Model files of format 1, which firstlight wrote before format 2: their header and tensors brought up to date.

What changed: the header's `fit` is now `resize`; the last layer of the mlp and the cnn is `head`, no longer `output`; a
network of timm or torchvision always has a linear head after its features, where format 1 also had networks with the
head that the library gave them. Their weights move to `body` and `head`, with the same answers. The entrance for gray
images is `color`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.errors import ModelFileError
from firstlight.models.recipe import OWN_NETWORKS
from firstlight.models.tensor_file import parse_json, refuse_differences

if TYPE_CHECKING:
    from torch import Tensor, nn

    from firstlight.models.libraries import State

FORMAT = 1

# Beginnings of tensors' names, before and after.
RENAMED = {
    "own": ("network.output.", "network.head."),
    "library": ("network.entrance.colour.", "network.entrance.color."),
}


def upgrade_header(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the header of a format 1 file as format 2 has it; what is missing or wrong stays so."""
    upgraded = {("resize" if key == "fit" else key): value for key, value in fields.items() if key != "resize"}
    architecture = fields.get("architecture")
    if isinstance(architecture, dict) and _has_library_head(architecture):
        upgraded["architecture"] = architecture | {"head": "linear"} | ({"channels": 1} if _is_gray(fields) else {})
    return upgraded


def upgrade_state(path: Path | str, text: str, tensors: "State") -> "State":
    """Return tensors under today's names, if the header's text is that of a format 1 file.

    Raises:
        ModelFileError: see `upgrade_tensors`.
    """
    try:
        fields = parse_json(text)
    except ValueError:
        return tensors
    known = isinstance(fields, dict) and fields.get("format") == FORMAT
    architecture = fields.get("architecture") if known else None
    if not isinstance(architecture, dict) or not isinstance(architecture.get("name"), str):
        return tensors
    return upgrade_tensors(path, fields, tensors)


def upgrade_tensors(path: Path | str, fields: dict[str, Any], tensors: "State") -> "State":
    """Return the tensors of a format 1 file under today's names.

    Args:
        path: of the file, for messages.
        fields: its header, as it stands in the file.
        tensors: by their names in the file.

    Raises:
        ModelFileError: if its network does not exist, has other tensors, or has a head that no linear layer after the
            features can replace.
    """
    if _has_library_head(fields["architecture"]):
        return _with_linear_head(path, fields, tensors)
    before, after = RENAMED["own" if fields["architecture"]["name"] in OWN_NETWORKS else "library"]
    return {
        after + name.removeprefix(before) if name.startswith(before) else name: tensor
        for name, tensor in tensors.items()
    }


def _has_library_head(architecture: dict[str, Any]) -> bool:
    return architecture.get("name") not in OWN_NETWORKS and "head" not in architecture


def _is_gray(fields: dict[str, Any]) -> bool:
    size = fields.get("input_size")
    return isinstance(size, list) and size[:1] == [1]


def _with_linear_head(path: Path | str, fields: dict[str, Any], tensors: "State") -> "State":
    """Move the tensors of a network with its library's head to `body` and `head`."""
    import torch

    from firstlight.models.libraries import find_network
    from firstlight.models.library_network import name_of_head, trying_out

    name = fields["architecture"]["name"]
    try:
        size, count = tuple(fields["input_size"]), len(fields["classes"])
        library, model = find_network(name)
        with trying_out(name, size):  # without memory, until the file has shown that it holds the weights
            whole = library.build(model, size, count)
            head = name_of_head(name, whole, library.build(model, size, count + 1))
    except Exception as error:
        raise ModelFileError(f"{path}: its network cannot be built: {error}") from error
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("network.")}
    inside = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name not in rest}
    refuse_differences(path, inside, whole.state_dict())
    with torch.random.fork_rng(devices=[]):
        network = library.build(model, size, count).eval()
    if not _ends_with(network, head, size):
        raise ModelFileError(
            f"{path}: its network, {name}, does not end with its head ({head}), as networks of this version must; "
            "train again, or use it with the firstlight that wrote it"
        )
    weight = inside.pop(f"{head}.weight").flatten(1)
    bias = inside.pop(f"{head}.bias", torch.zeros(count))
    body = {f"network.body.{name}": tensor for name, tensor in inside.items()}
    return rest | body | {"network.head.weight": weight, "network.head.bias": bias}


def _ends_with(network: "nn.Module", head: str, size: tuple[int, ...]) -> bool:
    """Return whether a network returns exactly what the layer `head` returns for each image.

    It is so for a linear layer, and for a convolution of one pixel after pooling; not for a head before pooling, or
    before an activation. A stand-in for the head returns numbers of its own, which have to come out.
    """
    import torch
    from torch import nn

    class StandIn(nn.Module):
        def forward(self, inputs: "Tensor") -> "Tensor":
            maps = inputs.shape[2:] if inputs.ndim > 2 else ()
            self.answer = torch.linspace(-2, 2, 8).reshape(1, 8, *(1 for _ in maps)).expand(len(inputs), 8, *maps)
            return self.answer.clone()  # an activation may work in place

    layer, stand_in = network.get_submodule(head), StandIn()
    if not (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))):
        return False
    network.set_submodule(head, stand_in)
    with torch.inference_mode():
        answer = network(torch.zeros(1, *size))
    return stand_in.answer.numel() == 8 and torch.equal(answer, stand_in.answer.flatten(1))
