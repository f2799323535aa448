"""Add up the gradients of several processes while they are computed.

PyTorch's DistributedDataParallel does the same, but puts together other buckets after its first step, so that the order
of summation, and the last bits, depend on where a run was resumed. The setting that prevents this walks through all
layers once more in every step, and prints a warning. Here buckets are made once, in the order of the parameters.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from firstlight.runtime.distributed import World

BUCKET_BYTES = 25 << 20  # of gradients that are sent together


class GradientSum:
    """The gradients of some parameters, in buckets; each is sent as soon as it is full, and summed in place.

    Args:
        parameters: in the same order in all processes; of those that are trained, the last ones have their gradient
            first.
        world: the processes.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], world: World) -> None:
        self.world = world
        self.buckets: list[Bucket] = []
        for weights in reversed([one for one in parameters if one.requires_grad]):
            bucket = self.buckets[-1] if self.buckets else None
            if bucket is None or not bucket.takes(weights):
                self.buckets.append(bucket := Bucket())
            bucket.parameters.append(weights)
        for bucket in self.buckets:
            bucket.allocate()
        self.bucket_of = {weights: bucket for bucket in self.buckets for weights in bucket.parameters}
        self.sent: list[Callable[[], Tensor]] = []
        hook = torch.Tensor.register_post_accumulate_grad_hook
        self.hooks = [hook(weights, self._collect) for weights in self.bucket_of]  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def begin(self) -> None:
        """Prepare for the gradients of another step."""
        self.sent = []
        for bucket in self.buckets:
            bucket.missing = set(bucket.parameters)

    def finish(self) -> None:
        """Wait until all gradients are sums over all processes."""
        while len(self.sent) < len(self.buckets):  # what no parameter was reached of, nowhere
            self._send()
        for wait in self.sent:
            wait()

    def remove(self) -> None:
        """Leave the parameters alone again."""
        for hook in self.hooks:
            hook.remove()

    def _collect(self, weights: Tensor) -> None:
        assert isinstance(weights, nn.Parameter)
        self.bucket_of[weights].collect(weights)
        while len(self.sent) < len(self.buckets) and not self.buckets[len(self.sent)].missing:
            self._send()  # note: always in the same order, whichever is full first

    def _send(self) -> None:
        bucket = self.buckets[len(self.sent)]
        bucket.clear_missing()
        self.sent.append(self.world.sum_later(bucket.numbers))


class Bucket:
    """Gradients that are sent together, one after another in a row of numbers of the same type on the same device."""

    def __init__(self) -> None:
        self.parameters: list[nn.Parameter] = []
        self.numbers = torch.zeros(0)
        self.places: dict[nn.Parameter, Tensor] = {}
        self.missing: set[nn.Parameter] = set()

    def takes(self, weights: nn.Parameter) -> bool:
        """Return whether the gradient of another parameter belongs here too."""
        first = self.parameters[0]
        size = sum(one.numel() * one.element_size() for one in (*self.parameters, weights))
        return size <= BUCKET_BYTES and (weights.dtype, weights.device) == (first.dtype, first.device)

    def allocate(self) -> None:
        """Make the row of numbers, and a place in it for each parameter, with the parameter's memory layout."""
        self.numbers = self.parameters[0].new_zeros(sum(weights.numel() for weights in self.parameters))
        begin = 0
        for weights in self.parameters:
            self.places[weights] = self.numbers.as_strided(weights.shape, weights.stride(), begin)
            begin += weights.numel()

    def collect(self, weights: nn.Parameter) -> None:
        """Move the gradient of a parameter to its place."""
        place = self.places[weights]
        assert weights.grad is not None
        place.copy_(weights.grad)
        weights.grad = place
        self.missing.discard(weights)

    def clear_missing(self) -> None:
        """Let parameters that were not reached add nothing; like in one process, they get no gradient."""
        for weights in self.missing:
            self.places[weights].zero_()
