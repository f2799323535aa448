"""`Service`: a model with its decoders and its batcher; uploads in, predictions out."""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.explain import SIDE
from firstlight.delivery.serve.batcher import Batcher
from firstlight.delivery.serve.heatmaps import Heatmaps
from firstlight.delivery.serve.metrics import Metrics
from firstlight.delivery.serve.uploads import Upload
from firstlight.errors import ImageError
from firstlight.inference.decoding import Decoders
from firstlight.inference.doubt import Sets
from firstlight.inference.engines.answers import Answers, Engine
from firstlight.inference.predictor import TOP, Prediction, Predictor
from firstlight.models.classifier import Classifier
from firstlight.runtime.processors import default_workers

MAX_WAITING = 256  # images that are accepted and not answered yet
MAX_HEATMAPS = 8  # that are accepted and not drawn yet
MAX_RETRY_SECONDS = 60
IMAGES_AT_ONCE = 32  # that go through the model together


class OverloadedError(Exception):
    """Too many images are waiting; `seconds` says when to come back."""

    def __init__(self, seconds: int = 1) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Service:
    """Answers uploads with the predictions that `firstlight predict` makes of the same files.

    Args:
        model: on any device.
        name: of the model, in addresses.
        top: see `Predictor`, as `accept`, `sets`, `max_pixels` and `engine`.
        workers: number of decoders; by default one for each processor.
        max_waiting: how many images may be accepted and not answered yet.
    """

    def __init__(
        self,
        model: Classifier,
        *,
        name: str = "model",
        top: int = TOP,
        accept: float | None = None,
        sets: Sets = "overall",
        max_pixels: int | None = None,
        workers: int | None = None,
        engine: Engine | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.model = model
        self.name = name
        self.max_waiting = max_waiting
        self.predictor = Predictor(
            model, top=top, max_pixels=max_pixels, workers=workers, accept=accept, sets=sets, engine=engine
        )
        self.waiting = 0
        self.draining = False
        self._decoders = Decoders(self.predictor.target, workers or default_workers())
        self.metrics = Metrics()
        self._batcher = Batcher(self._answer, IMAGES_AT_ONCE)
        self._explaining = 0
        self._heatmaps = Heatmaps(model)
        self._drawing = Batcher(self._draw, 1, name="firstlight-heatmaps")

    @property
    def ready(self) -> bool:
        """Whether new requests are answered."""
        return not self.draining

    @property
    def has_strangeness(self) -> bool:
        """Whether the model tells how strange an image is."""
        return self.model.trust is not None and self.model.trust.strangeness is not None

    def require_room(self, images: int = 1) -> None:
        """Refuse what would be too much.

        Raises:
            OverloadedError: if so many images are waiting already that there is no room for these.
        """
        if self.waiting and self.waiting + images > self.max_waiting:
            seconds = math.ceil(self.waiting * self.metrics.seconds_per_image)
            raise OverloadedError(min(max(seconds, 1), MAX_RETRY_SECONDS))

    async def predict(self, uploads: Sequence[Upload]) -> list[Prediction]:
        """Return the prediction of each upload, in order; one that cannot be used has an `error`.

        Canceling it drops what has not begun.

        Raises:
            OverloadedError: if too many images are waiting already.
        """
        with self._accepted(len(uploads)):
            if len(uploads) == 1:
                predictions = [await self._predict_one(uploads[0])]
            else:
                predictions = await asyncio.gather(*map(self._predict_one, uploads))
        self.metrics.count_predictions(predictions)
        return predictions

    async def infer(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return all that the model says about images of its size, by the names of `Answers`.

        Args:
            images: uint8 `[N, H, W, C]`.

        Raises:
            OverloadedError: if too many images are waiting already.
        """
        with self._accepted(len(images)):
            jobs = [self._batcher.submit((image, True)) for image in images]
            rows = await asyncio.gather(*map(asyncio.wrap_future, jobs))
        columns = zip(*rows, strict=True)
        return {
            name: np.concatenate([part.cpu().numpy() for part in column])
            for name, column in zip(Answers._fields, columns, strict=True)
            if column[0] is not None
        }

    @contextmanager
    def _accepted(self, images: int) -> Iterator[None]:
        self.require_room(images)
        self.waiting += images
        try:
            yield
        finally:
            self.waiting -= images

    async def _predict_one(self, upload: Upload) -> Prediction:
        found = await asyncio.wrap_future(self._decoders.submit(upload.content, upload.name or ""))
        if isinstance(found, str):
            return Prediction(upload.name, error=found)
        prediction: Prediction = await asyncio.wrap_future(self._batcher.submit((found, False)))
        return replace(prediction, image=upload.name)

    async def explain(self, upload: Upload, label: str | None = None) -> bytes | str:
        """Return the heatmap of an upload over it as a PNG file, or the reason why it cannot be used.

        Heatmaps are drawn one after the other, beside the predictions.

        Args:
            upload: one image.
            label: the class that the heatmap is for; by default the most probable one.

        Raises:
            ValueError: if the model has no such class.
            OverloadedError: if too many heatmaps are waiting already.
        """
        class_ = None if label is None else self.model.classes.index(label)
        if self._explaining >= MAX_HEATMAPS:
            raise OverloadedError
        self._explaining += 1
        try:
            return await asyncio.wrap_future(self._drawing.submit((upload, class_)))
        finally:
            self._explaining -= 1

    def start(self) -> None:
        """Start the decoders and run the model once, instead of with the first image."""
        self._decoders.start()
        self.predictor.engine.try_sizes(IMAGES_AT_ONCE)

    def drain(self) -> None:
        """Say that no new requests are answered."""
        self.draining = True

    def close(self) -> None:
        """End the threads and the decoders."""
        self.drain()
        self._decoders.stop()
        self._batcher.close()
        self._drawing.close()

    def _draw(self, jobs: Sequence[tuple[Upload, int | None]]) -> list[bytes | str]:
        return [self._draw_one(upload, class_) for upload, class_ in jobs]

    def _draw_one(self, upload: Upload, class_: int | None) -> bytes | str:
        picture = self._decoders.read_whole(upload.content, SIDE, upload.name or "")
        try:
            return picture if isinstance(picture, str) else self._heatmaps.draw(picture, class_)
        except ImageError as error:
            return str(error)

    def _answer(self, jobs: Sequence[tuple[NDArray[np.uint8], bool]]) -> list[Any]:
        """Return for each image its prediction, or, if so asked, its row of what the model says."""
        start = time.perf_counter()
        answers = self.predictor.answers([image for image, _ in jobs])
        predictions = self.predictor.judge(answers)
        self.metrics.count_batch(len(jobs), time.perf_counter() - start)
        return [
            Answers._make(None if column is None else column[row : row + 1] for column in answers)
            if raw
            else prediction
            for row, ((_, raw), prediction) in enumerate(zip(jobs, predictions, strict=True))
        ]
