"""Copy pretrained weights into the body of a network, whatever tool wrote them and whatever classes they are for."""

from contextlib import suppress

from firstlight.errors import ModelFileError
from firstlight.models import embedded
from firstlight.models.downloads import Weights
from firstlight.models.libraries import State, find_network
from firstlight.models.library_network import LibraryNetwork
from firstlight.models.network import Network
from firstlight.models.spec import NetworkSpec
from firstlight.models.weights import load_state_dict_file, load_weights

# Heads that some networks have for training only.
AUXILIARY_HEADS = ("AuxLogits.", "aux1.", "aux2.")


def read_weights(weights: Weights) -> State:
    """Return weights as `{name: tensor}` on the CPU, the embedded ones under timm's names.

    Raises:
        ModelFileError: if the file cannot be read, or holds no weights.
    """
    state = load_state_dict_file(weights.path)
    return embedded.renamed(state) if weights.sha256 == embedded.SHA256 else state


def load_pretrained(network: Network, spec: NetworkSpec, weights: Weights) -> None:
    """Copy weights into the body of a network, whatever classes they were trained for.

    The file's own head and auxiliary heads are left out; a batch norm's count of batches may be missing, as in old
    files. Everything else must be there. Where the body depends on the images' size, as a transformer does
    by its positions, the weights are resampled to it.

    Args:
        network: of timm or torchvision, as `build_network` returns it; its head stays as it is.
        spec: of the network, as it was built.
        weights: from `find_weights`.

    Raises:
        ModelFileError: if the file cannot be read or holds the weights of another network; nothing is then changed.
    """
    assert isinstance(network, LibraryNetwork), spec.name
    library, model = find_network(spec.name)
    wanted = network.body.state_dict()
    state = _inside(read_weights(weights), wanted)
    with suppress(Exception):  # another network's weights stop the conversion; the error below says what they lack
        state = library.convert(model, network.body, state)
    left_out = (f"{network.replaced}.", *AUXILIARY_HEADS)
    state = {path: tensor for path, tensor in state.items() if not path.startswith(left_out)}
    try:
        load_weights(network.body, state, source=weights.path)
    except ModelFileError as error:
        raise ModelFileError(f"{error}; {_what_it_may_be(spec, weights, state, wanted)}") from None


def _inside(state: State, wanted: State) -> State:
    """Remove the prefix that a larger model gave the names, such as Lightning's `model.` or our own `network.body.`."""
    first = next(iter(wanted))
    before = min((path.removesuffix(first) for path in state if f".{path}".endswith(f".{first}")), key=len, default="")
    return {path.removeprefix(before): tensor for path, tensor in state.items() if path.startswith(before)}


def _what_it_may_be(spec: NetworkSpec, weights: Weights, found: State, wanted: State) -> str:
    """Return a guess at why weights differ: the image size if only shapes do, else the network in the file's name."""
    assert spec.published is not None
    name = spec.name
    if all(path.endswith("num_batches_tracked") for path in found.keys() ^ wanted.keys()):
        height, width = spec.published.input_size[1:]
        return f"it may be for another picture size ({name} was made for {height} x {width}), or for a variant"
    library, _ = find_network(name)
    named = max((one for one in library.names() if one in weights.path.name), key=len, default="")
    guess = f", judging by its name those of {name.partition(':')[0]}:{named}" if named else ""
    return f"it holds another network's weights than {name}'s{guess}"
