"""`SteadyEngine`: an engine whose answer for an image does not depend, to the last bit, on what the image comes with.

What a network computes for one image of a batch depends on the size of the batch, in the last bits: kernels are chosen,
and sums are split, by the shape of their input. By nothing else: which numbers are in it does not matter. So a trial
with random images tells which sizes of a batch give every image the same bits, on this machine, with this engine and
this number of threads. Only batches of those sizes go through the network; other numbers of images are split.
"""

import torch
from torch import Tensor

from firstlight.inference.engines.answers import Answers, Engine
from firstlight.inference.engines.rows import in_steps, steps_for
from firstlight.models.classifier import Classifier

SIZES = (64, 32, 16, 8, 4, 2)
MAX_PIXELS_AT_ONCE = 2**18  # of a batch; more gain nothing on a processor
SMALL = 2**14  # pixels of an image up to which a trial costs little
PAIRS = 4  # of small images, by which it is decided whether one goes alone
WORTH_A_TRIAL = 4  # batches of a size; a trial takes as long as two


class SteadyEngine:
    """Runs another engine in batches of such sizes that no image changes another's answer.

    Holds on a processor; on a GPU all images go through the network together.

    Args:
        engine: of the model.
        model: it gives the calibration and the score of strangeness.
    """

    def __init__(self, engine: Engine, model: Classifier) -> None:
        self.engine = engine
        self.name = engine.name
        channels, height, width = model.input_size
        self.shape = (channels, height, width)
        self.most = max(4, MAX_PIXELS_AT_ONCE // (height * width))
        self._on_processor = model.mean.device.type == "cpu"
        self._temperature = model.temperature.detach().clone()
        self._strangeness = model.trust.strangeness if model.trust else None
        strange = self._strangeness
        self._rows = 1 if strange is None else steps_for(strange.references, strange.directions)
        self._is_steady: dict[int, bool] = {}  # by size
        self._least: int | None = None
        self._seen = 0

    def __call__(self, images: Tensor) -> Answers:
        """Return what the model says about images, uint8 `[B, C, H, W]`."""
        if not self._on_processor:
            return self.engine(images)
        features, logits = self.features_and_logits(images)
        with torch.inference_mode():
            probabilities = torch.softmax(logits / self._temperature, dim=1)
            score = None if self._strangeness is None else self._strangeness.score
            strange = None if score is None else in_steps(score, features, logits, images, rows=self._rows)
        return Answers(probabilities, logits, features, strange)

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits alone, float32 `[B, D]` and `[B, K]`."""
        if not self._on_processor:
            return self.engine.features_and_logits(images)
        self._seen += len(images)
        parts = []
        while len(images):
            size = self._size_for(len(images))
            part, images = images[:size], images[size:]
            missing = size - len(part)
            if missing:
                part = torch.cat([part, part[-1:].expand(missing, *self.shape)])
            parts.append([column[: size - missing] for column in self.engine.features_and_logits(part)])
        features, logits = (column[0] if len(column) == 1 else torch.cat(column) for column in zip(*parts, strict=True))
        return features, logits

    def try_sizes(self, most: int) -> None:
        """Find out now which sizes up to `most` can be used, instead of when they are needed."""
        for size in SIZES:
            if self.least < size <= min(most, self.most):
                self._tried(size)

    def _size_for(self, count: int) -> int:
        least = self.least
        for size in SIZES:
            if least < size <= min(count, self.most) and self._may_use(size):
                return size
        return least

    def _may_use(self, size: int) -> bool:
        is_known = size in self._is_steady or self._seen >= WORTH_A_TRIAL * size
        return is_known and self._tried(size)

    def _tried(self, size: int) -> bool:
        if size not in self._is_steady:
            noise = self._noise(0, size)
            self._is_steady[size] = _equal(self._found(noise), self._found(*torch.split(noise, self.least)))
        return self._is_steady[size]

    @property
    def least(self) -> int:
        """The size of the smallest batch: 1, or 2 for small images whose pairs disagree with one, which goes twice."""
        if self._least is None:
            is_small = self.shape[1] * self.shape[2] <= SMALL
            alone, twice = True, is_small  # to go twice would cost a large image too much
            for pair in range(PAIRS if is_small else 1):
                noise = self._noise(pair, 2)
                found = self._found(noise)
                alone = alone and _equal(found, self._found(noise[:1], noise[1:]))
                if twice and not alone:
                    doubled = self._found(noise[[0, 0]], noise[[1, 1]])
                    twice = _equal(found, [column[[0, 2]] for column in doubled])
            self._least = 1 if alone or not twice else 2
        return self._least

    def _found(self, *batches: Tensor) -> list[Tensor]:
        """Return features and logits of several batches, one after another."""
        found = [self.engine.features_and_logits(batch) for batch in batches]
        return [torch.cat(column) for column in zip(*found, strict=True)]

    def _noise(self, seed: int, count: int) -> Tensor:
        noise = torch.randint(
            256, (count, *self.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
        )
        return noise.contiguous(memory_format=torch.channels_last)  # as images come


def _equal(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(map(torch.equal, found, expected))
