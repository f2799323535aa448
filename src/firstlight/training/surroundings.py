"""What the bits of a run depend on besides its recipe, and what of it has changed when a run is to continue."""

import hashlib
import platform
from importlib.metadata import version

import torch

from firstlight.errors import RunError
from firstlight.runs.begun import Begun
from firstlight.runtime.distributed import world
from firstlight.training.ready import Ready

PROCESSES = "number of processes"
SAME_VERSIONS = ("firstlight", "PyTorch")


def begun_with(made: Ready, *, score_test: bool) -> Begun:
    """Return how a run begins, here and now.

    Args:
        made: what it is trained on, and where.
        score_test: whether the test split will be scored.
    """
    data, device = made.data, made.device
    rows = (data.samples.labels, data.split.train, data.split.valid, data.split.test)
    return Begun(
        source_key=data.store.content_key,
        split_key=hashlib.sha256(b"".join(part.tobytes() + b"|" for part in rows)).hexdigest(),
        weights=made.weights.sha256 if made.weights else None,
        score_test=score_test,
        surroundings={
            "firstlight": version("firstlight"),
            "PyTorch": str(torch.__version__),
            "torchvision": version("torchvision"),
            "timm": version("timm"),
            "NumPy": version("numpy"),
            "threads": str(torch.get_num_threads()),
            PROCESSES: str(world().size),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        },
    )


def differences_between(begun: Begun, now: Begun) -> list[str]:
    """Return what has changed since a run was begun, in words."""
    pairs = {
        "its pictures have changed": (begun.source_key, now.source_key),
        "its labels or its split have changed": (begun.split_key, now.split_key),
        "its pretrained weights have changed": (begun.weights, now.weights),
    }
    found = [words for words, (before, here) in pairs.items() if before != here]
    for name in sorted(begun.surroundings.keys() | now.surroundings.keys()):
        before, here = (surroundings.get(name, "unknown") for surroundings in (begun.surroundings, now.surroundings))
        if before != here:
            found.append(f"{name} was {before} and is {here}")
    return found


def require_same(made: Ready) -> None:
    """Refuse to train in several processes that are not about to train the same.

    Args:
        made: what this process is about to train.

    Raises:
        RunError: in all of them; it says which one differs from rank 0, and in what.
    """
    here = world()
    if here.size == 1:
        return
    own = begun_with(made, score_test=True)
    facts = {
        "pictures": own.source_key,
        "labels or another split": own.split_key,
        "pretrained weights": own.weights,
        **{f"version of {name}": own.surroundings[name] for name in SAME_VERSIONS},
    }
    first, *others = here.gather_json(facts)
    for rank, found in enumerate(others, 1):
        if different := [name for name in facts if found[name] != first[name]]:
            raise RunError(
                f"process {rank} has other {' and other '.join(different)} than process 0, so they cannot train "
                "together; give all of them the same data and the same installation"
            )
