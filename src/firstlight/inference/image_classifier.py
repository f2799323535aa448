"""A Classifier with scikit-learn's `predict` and `predict_proba`, for images of any kind and size."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier


class ImageClassifier(Classifier):
    """Map uint8 images to logits, and classify images of any kind and size. An ordinary `nn.Module`.

    `model(images)` maps uint8 `[B, C, H, W]` of the network's own size to logits. `predict` and `predict_proba` take
    whatever `firstlight.predict` takes, and prepare it as training did.

    See `models.classifier.Classifier` for the arguments.
    """

    @classmethod
    def of(cls, classifier: Classifier) -> Self:
        """Return the same classifier with `predict` and `predict_proba`; the two share everything."""
        if isinstance(classifier, cls):
            return classifier
        made = cls.__new__(cls)
        vars(made).update(vars(classifier))
        return made

    def predict(self, images: Any) -> NDArray[np.str_]:
        """Return the name of the most probable class of each image, `[N]`; N = 1 for a single image.

        Args:
            images: a path, the bytes of a file, a PIL image, an array, a tensor, or a list of these; see
                `firstlight.predict`. Images of other sizes are resized. For many calls, make one `Predictor`.

        Raises:
            ImageError: if an image cannot be used; `firstlight.predict` continues without it.
            WrongTypeError: if it is anything else.
        """
        probabilities = self.predict_proba(images)
        names: NDArray[np.str_] = np.array(self.classes)[probabilities.argmax(axis=1)]
        return names

    def predict_proba(self, images: Any) -> NDArray[np.float32]:
        """Return calibrated probabilities, float32 `[N, K]`, in the order of `classes`; see `predict`."""
        return Predictor(self).probabilities(images)
