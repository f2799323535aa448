"""`Service`: a model with its decoders and its batcher; uploads in, predictions out."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from firstlight.delivery.explain import SIDE
from firstlight.delivery.serve.batcher import Batcher
from firstlight.delivery.serve.heatmaps import Heatmaps
from firstlight.delivery.serve.uploads import Upload
from firstlight.inference.decoding import Decoders
from firstlight.inference.doubt import Sets
from firstlight.inference.engines.answers import Engine
from firstlight.inference.predictor import TOP, Prediction, Predictor
from firstlight.models.classifier import Classifier
from firstlight.runtime.processors import default_workers

MAX_WAITING = 256  # images that are accepted and not answered yet
MAX_HEATMAPS = 8  # that are accepted and not drawn yet
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
        self._batcher = Batcher(self._answer, IMAGES_AT_ONCE)
        self._explaining = 0
        self._heatmaps = Heatmaps(model)
        self._drawing = Batcher(self._draw, 1, name="firstlight-heatmaps")

    @property
    def ready(self) -> bool:
        """Whether new requests are answered."""
        return not self.draining

    async def predict(self, uploads: Sequence[Upload]) -> list[Prediction]:
        """Return the prediction of each upload, in order; one that cannot be used has an `error`.

        Raises:
            OverloadedError: if too many images are waiting already.
        """
        if self.waiting and self.waiting + len(uploads) > self.max_waiting:
            raise OverloadedError
        self.waiting += len(uploads)
        try:
            return await asyncio.gather(*map(self._predict_one, uploads))
        finally:
            self.waiting -= len(uploads)

    async def _predict_one(self, upload: Upload) -> Prediction:
        found = await asyncio.wrap_future(self._decoders.submit(upload.content, upload.name or ""))
        if isinstance(found, str):
            return Prediction(upload.name, error=found)
        return replace(await asyncio.wrap_future(self._batcher.submit(found)), image=upload.name)

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
        """Start the decoders now instead of with the first image."""
        self._decoders.start()

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
        return picture if isinstance(picture, str) else self._heatmaps.draw(picture, class_)

    def _answer(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        return self.predictor.predict_pixels([(None, image) for image in pixels])
