"""`Predictor`: images of any kind in, predictions out; every prediction of a trained model is made here."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.parallel import chunks_of, in_order
from firstlight.errors import ImageError, RecipeError, require_type
from firstlight.escaping import escape_name
from firstlight.inference.collect import Collected, collect, collect_together
from firstlight.inference.doubt import Doubt, Sets
from firstlight.inference.engines.answers import NOT_FINITE, Answers, Engine
from firstlight.inference.engines.steady import SteadyEngine
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.inference.inputs import Item, Target, is_one_image, items_in, items_of, read_item
from firstlight.inference.prediction import Guess, Prediction, Predictions
from firstlight.models.classifier import Classifier
from firstlight.runtime.processors import default_workers

if TYPE_CHECKING:
    from firstlight.data.loader import Batch, Loader

__all__ = ["TOP", "Guess", "Prediction", "Predictions", "Predictor"]

IMAGES_AT_ONCE = 64  # that are decoded by one thread, and go through the model together
TOP = 5  # classes


class Predictor:
    """Classifies images with one model.

    An image gets the same answer, to the last bit, whatever it comes with: on a processor, with the same engine and the
    same number of threads. What happens to the model afterwards changes no answer. A Predictor can be pickled, and
    several threads may use it at once.

    Args:
        model: on any device.
        top: how many classes each prediction lists.
        max_pixels: an image with more pixels is not decoded; its prediction has an `error`. By default the limit of
            the training.
        workers: number of threads that decode images; by default one for each processor.
        accept: an answer is unsure if its probability is below this; by default, if more than one class remains in the
            set of the image.
        sets: `overall`: of all images, nine of ten have a set that holds the right class; `by-class`: of each class.
        engine: what runs the model; by default PyTorch, with an optimized copy.

    Attributes:
        target: how images are prepared.

    Raises:
        RecipeError: if `top`, `max_pixels` or `workers` is below 1, or if `accept` or `sets` is given and wrong, or the
            model cannot tell when it is unsure.

    >>> import numpy as np
    >>> from firstlight.models.classifier import Classifier
    >>> model = Classifier(architecture={"name": "mlp"}, classes=("cat", "dog"), input_size=(1, 8, 8))
    >>> predictor = Predictor(model)
    >>> [guess.label for guess in predictor(np.zeros((8, 8), np.uint8)).top] in (["cat", "dog"], ["dog", "cat"])
    True
    """

    def __init__(
        self,
        model: Classifier,
        *,
        top: int = TOP,
        max_pixels: int | None = None,
        workers: int | None = None,
        accept: float | None = None,
        sets: Sets = "overall",
        engine: Engine | None = None,
    ) -> None:
        require_type(model, Classifier, "model", "a Classifier, such as fl.load returns")
        _require_positive(top=top, max_pixels=max_pixels, workers=workers)
        self.engine = SteadyEngine(engine or TorchEngine(model), model)
        self.classes = model.classes
        self.top = top
        self.workers = workers
        self._doubt = Doubt.of(model, accept, sets)
        self.target = Target(model.input_size, model.resize, max_pixels or model.max_pixels, model.white)

    def __call__(self, images: Any) -> Prediction | Predictions:
        """Classify one image or several; see `predict`."""
        return self.predict(images)

    def predict(self, images: Any) -> Prediction | Predictions:
        """Return a `Prediction` for one image; for a folder, a stack, or a list, return `Predictions` in their order.

        Args:
            images: the path of a file or a folder, the bytes of a file, a PIL image, an array `[H, W]`, `[H, W, C]`,
                `[N, H, W]` or `[N, H, W, C]`, a tensor `[C, H, W]` or `[N, C, H, W]` on any device, or a list of these;
                C is 1 or 3. Arrays and tensors hold uint8, uint16, or floats in 0..1, and are resized like
                files.

        Raises:
            TypeError: if it is anything else; it says what is accepted.
            DataError: if an array holds values that no image has.
        """
        if is_one_image(images):
            return self.predict_pixels(self._read(list(items_of(images, self.target.white))))[0]
        return Predictions(self._stream(items_of(images, self.target.white), self.workers))

    def predict_files(self, files: Iterable[str], *, workers: int | None = None) -> Iterator[Prediction]:
        """Yield the prediction of each file in order, at constant memory; one that cannot be used has an `error`.

        Args:
            files: paths of images, folders and archives, read as needed.
            workers: number of threads that decode; by default the Predictor's.

        Raises:
            RecipeError: if `workers` is below 1.
        """
        return self.predict_items(items_in(files), workers=workers)

    def predict_items(self, items: Iterable[Item], *, workers: int | None = None) -> Iterator[Prediction]:
        """Yield the prediction of each image in order, as `predict_files` does."""
        _require_positive(workers=workers)
        return self._stream(items, workers or self.workers)

    def probabilities(self, images: Any) -> NDArray[np.float32]:
        """Return the calibrated probabilities of all classes for each image, float32 `[N, K]`; N = 1 for a single one.

        Args:
            images: what `predict` takes.

        Raises:
            ImageError: if an image cannot be used or has no answer in finite numbers, with its path or its number.
            WrongTypeError: if it is anything else; it says what is accepted.
        """
        parts = [np.empty((0, len(self.classes)), np.float32)]
        done = 0
        chunks = chunks_of(IMAGES_AT_ONCE, items_of(images, self.target.white))
        for chunk in in_order(self._read, chunks, 1 if is_one_image(images) else self.workers or default_workers()):
            names = [
                f"image {number}" if name is None else escape_name(name) for number, (name, _) in enumerate(chunk, done)
            ]
            pixels = []
            for name, (_, image) in zip(names, chunk, strict=True):
                if isinstance(image, str):
                    raise ImageError(f"{name}: {image}")
                pixels.append(image)
            answers = self.answers(pixels)
            for name, is_finite in zip(names, answers.are_finite().tolist(), strict=True):
                if not is_finite:
                    raise ImageError(f"{name}: {NOT_FINITE}")
            parts.append(answers.probabilities.cpu().numpy())
            done += len(chunk)
        return np.concatenate(parts)

    def collect(self, batches: "Iterable[Batch]", *, features: bool = False) -> Collected:
        """Return what the model says about every batch of a loader, see `collect.collect`."""
        if features:
            return collect(self.engine.engine, batches, features=True)
        return collect(self._logits, batches)

    def collect_together(self, loader: "Loader", *, features: bool = False) -> Collected:
        """Return the same of all batches of a loader, shared by the processes that train together."""
        if features:
            return collect_together(self.engine.engine, loader, features=True)
        return collect_together(self._logits, loader)

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        return self.engine.engine.features_and_logits(images)[1]

    def _stream(self, items: Iterable[Item], workers: int | None) -> Iterator[Prediction]:
        for chunk in in_order(self._read, chunks_of(IMAGES_AT_ONCE, items), workers or default_workers()):
            yield from self.predict_pixels(chunk)

    def _read(self, items: Iterable[Item]) -> list[tuple[str | None, NDArray[np.uint8] | str]]:
        return [(item.name, read_item(item, self.target)) for item in items]

    def predict_pixels(self, read: Sequence[tuple[str | None, NDArray[np.uint8] | str]]) -> list[Prediction]:
        """Return the prediction of each image that has been read already, all in one pass of the model.

        Args:
            read: for each image its name, and either its pixels as `read_item` prepares them for `target`, uint8
                `[H, W, C]`, or the reason why it cannot be used.
        """
        pixels = [image for _, image in read if not isinstance(image, str)]
        judged = iter(self.judge(self.answers(pixels)) if pixels else [])
        return [
            Prediction(name, error=image) if isinstance(image, str) else replace(next(judged), image=name)
            for name, image in read
        ]

    def answers(self, pixels: Sequence[NDArray[np.uint8]]) -> Answers:
        """Return what the model says about images, uint8 `[H, W, C]` of its size."""
        return self.engine(_stacked(pixels))

    def judge(self, answers: Answers) -> list[Prediction]:
        """Return the predictions, without names, that follow from what the model says."""
        with torch.inference_mode():
            finite = answers.are_finite().tolist()
            verdicts = self._doubt.verdicts(answers)
            ranked = answers.probabilities.topk(min(self.top, len(self.classes)), dim=1)
        predictions = []
        rows = zip(ranked.indices.tolist(), ranked.values.tolist(), verdicts, finite, strict=True)
        for indices, values, verdict, is_finite in rows:
            top = tuple(Guess(self.classes[index], value) for index, value in zip(indices, values, strict=True))
            if is_finite:
                predictions.append(Prediction(None, top[0].label, top[0].probability, top, None, *verdict))
            else:
                predictions.append(Prediction(None, error=NOT_FINITE))
        return predictions


def _stacked(pixels: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def _require_positive(**choices: int | None) -> None:
    for name, value in choices.items():
        if value is not None and (type(value) is not int or value < 1):
            raise RecipeError("give a whole number from 1", field=name, value=value)
