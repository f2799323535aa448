"""A scikit-learn estimator that classifies images, for pipelines, cross-validation, and searches."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from firstlight.data.samples import Samples
from firstlight.data.sources.arrays import images_of, labeled
from firstlight.data.sources.labels import Labels, read_labels
from firstlight.errors import DataError, RecipeError, WrongTypeError, kind_of, require_type
from firstlight.files import expand_user
from firstlight.inference.predictor import Predictor
from firstlight.progress import silence
from firstlight.runs.begun import end_run
from firstlight.runs.folder import make_run_folder
from firstlight.training.recipe import Recipe
from firstlight.training.train import train

MAX_SEED = 2**31 - 1  # of those that are drawn


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Train and use an image classifier with scikit-learn's methods.

    `X` is a list or a column of paths, of PIL images, or of arrays of any sizes; or an array `[N, H, W]` or
    `[N, H, W, C]` with C = 1 or 3, of uint8, uint16, or floats in 0..1; or, with `image_shape`, an array of flat rows
    `[N, D]`. `y` holds words, whole numbers or booleans.

    `fit` holds back a part of `X` for validation: it chooses the best epoch, and fits the temperature that makes
    probabilities calibrated. Copies of an image, and images of one group, are all in it or all outside. There is no
    test split, since the images that scikit-learn holds back are never seen by `fit`.

    The same `X`, `y` and `random_state` give the same probabilities, on one machine with one number of threads.

    Args:
        model: the network, such as `mlp`, `cnn`, or `timm:resnet18`. This and the next choices are those of
            `firstlight.Recipe`; None is what `recipe` says.
        img_size: side in pixels of the square that images are resized to.
        epochs: number of passes over the training images.
        batch_size: number of images per training step.
        lr: peak learning rate.
        weight_decay: never applied to norms and biases.
        label_smoothing: fraction of each label that is spread evenly over all classes.
        finetune: what to fine-tune of a pretrained network.
        balance: what to do about rare classes: nothing, weight their loss, or draw their images more often.
        time_limit: stop after this many seconds of training.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, or `mps`.
        recipe: every other choice; by default those of `Recipe()`.
        validation_fraction: share of the images that is held back.
        image_shape: `(H, W)` or `(H, W, C)` of the images that rows of numbers hold; -1 for one that follows from the
            length of the rows.
        value_range: which numbers of an array are black and white, such as `(0, 16)`; what lies outside becomes black
            or white. `data` takes the lowest and the highest number that `fit` was given. By default, floats are taken
            as 0..1, and other ranges refused.
        random_state: a number, or a generator that one is drawn from; None for the recipe's seed, so that it is
            always the same.
        runs: a folder in which each `fit` leaves a run folder; by default none is kept.
        verbose: whether to show what is being done, on stderr.

    Attributes:
        classes_: the distinct labels, sorted, `[K]`.
        model_: the trained `firstlight.Classifier`, an ordinary `nn.Module`.
        record_: what is known of the run, such as `record_.valid.accuracy` and `record_.notes`.
        run_folder_: the run folder; None if it was not kept.
        n_features_in_: the length of the rows, with `image_shape`.
        value_range_: the numbers that are black and white, with `value_range`.
        feature_names_in_: the names of the columns, with `image_shape`, if `X` has any.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        img_size: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        label_smoothing: float | None = None,
        finetune: Literal["none", "head", "last", "all"] | None = None,
        balance: Literal["none", "weights", "sampling"] | None = None,
        time_limit: float | None = None,
        device: str | None = None,
        recipe: Recipe | None = None,
        validation_fraction: float = 0.15,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | Literal["data"] | None = None,
        random_state: int | np.random.RandomState | None = None,
        runs: Path | str | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.img_size = img_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.finetune = finetune
        self.balance = balance
        self.time_limit = time_limit
        self.device = device
        self.recipe = recipe
        self.validation_fraction = validation_fraction
        self.image_shape = image_shape
        self.value_range = value_range
        self.random_state = random_state
        self.runs = runs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Train on labeled images, and return self.

        Args:
            X: the images, `[N]`.
            y: their labels, `[N]`.
            groups: `[N]`, such as patients: images of one group are all held back or all trained on.

        Raises:
            ValueError: if the images, their labels, or a choice cannot be used.
        """
        recipe = self._recipe()
        images, targets = self._images(X, fits=True), _targets(X, y)
        self.classes_, numbers = np.unique(targets, return_inverse=True)
        names = read_labels(self.classes_, "y")
        samples = _samples(images, Labels(names.classes, names.labels[numbers], names.notes), groups)
        with nullcontext() if self.verbose else silence(), self._run_folder(samples.name) as folder:
            run = train(samples, recipe, folder, score_test=False)
            if run.interrupted:
                raise KeyboardInterrupt
            end_run(folder)
        self.model_, self.record_ = run.model, run.record
        self.run_folder_ = folder if self.runs is not None else None
        if self.runs is None:
            self.model_.file = None  # it is gone by now
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the most probable class of each image, `[N]`, as one of `classes_`."""
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return calibrated probabilities, float32 `[N, K]`, in the order of `classes_`.

        Raises:
            NotFittedError: before `fit`.
            ValueError: if an image cannot be used.
        """
        check_is_fitted(self)
        images = self._images(X, fits=False)
        with nullcontext() if self.verbose else silence():
            probabilities = Predictor(self.model_).probabilities(images)
        if len(probabilities) != len(images):
            raise DataError(
                f"X: {len(images):,} pictures, but {len(probabilities):,} answers, so some are folders or archives; "
                "give one file for each picture"
            )
        return probabilities[:, read_labels(self.classes_, "y").labels]

    def _recipe(self) -> Recipe:
        """Return the recipe of a run: the arguments that are not None in place of its own choices."""
        require_type(self.recipe, Recipe | None, "recipe", "a Recipe, such as Recipe.of(hidden=(64,))")
        recipe = self.recipe or Recipe()
        if recipe.data.split != Recipe().data.split:
            raise RecipeError(
                "the estimator holds back `validation_fraction` of the pictures; leave this out of the recipe",
                field="split",
                value=recipe.data.split,
            )
        if not 0 < self.validation_fraction < 1:
            raise RecipeError(
                "choose a number between 0 and 1", field="validation_fraction", value=self.validation_fraction
            )
        names = "model img_size epochs batch_size lr weight_decay label_smoothing finetune balance time_limit device"
        choices = {name: value for name in names.split() if (value := getattr(self, name)) is not None}
        if isinstance(self.random_state, int | np.integer):
            choices["seed"] = int(self.random_state)
        elif self.random_state is not None:
            choices["seed"] = int(check_random_state(self.random_state).randint(MAX_SEED))
        return recipe.replace(**choices, split=f"{1 - self.validation_fraction}/{self.validation_fraction}/0")

    def _images(self, X: Any, *, fits: bool) -> Any:  # noqa: N803
        """Return the images as the library takes them: arrays as `[N, H, W, C]`, anything else as it is."""
        if self.image_shape is not None:
            rows = validate_data(self, X, reset=fits)
            try:
                X = rows.reshape(len(rows), *self.image_shape)  # noqa: N806
            except (ValueError, TypeError):
                raise RecipeError(
                    f"rows of {rows.shape[1]:,} numbers are no images of this shape",
                    field="image_shape",
                    value=self.image_shape,
                ) from None
        elif hasattr(X, "columns"):
            X = _only_column(X)  # noqa: N806
        if isinstance(X, str | bytes) or not hasattr(X, "__len__"):
            raise WrongTypeError(f"X is {kind_of(X)}; give a list or an array of pictures")
        if not isinstance(X, np.ndarray) or X.dtype.kind in "OUS":
            return X
        if X.ndim == 2:
            raise DataError(
                f"X is {kind_of(X)}: for rows of numbers, say in `image_shape` which images they hold, such as (8, 8); "
                "one picture is [1, H, W]"
            )
        if self.value_range is not None:
            if fits:
                self.value_range_ = _range_of(X) if self.value_range == "data" else self.value_range
            low, high = self.value_range_
            if not low < high:
                raise RecipeError("give two numbers, black and white", field="value_range", value=self.value_range)
            X = np.clip((X.astype(np.float64) - low) / (high - low), 0, 1)  # noqa: N806
        return X[..., None] if X.ndim == 3 else X

    @contextmanager
    def _run_folder(self, name: str) -> Iterator[Path]:
        """Make a run folder for the block; it is kept only if that is asked for, and if something came of it."""
        if self.runs is None:
            with TemporaryDirectory(prefix="firstlight-") as temporary:
                yield Path(temporary)
            return
        folder = make_run_folder(name, runs=expand_user(self.runs))
        try:
            yield folder
        finally:
            with suppress(OSError):
                folder.rmdir()  # which fails if it holds anything

    def __sklearn_tags__(self) -> Tags:
        """Return what scikit-learn should know about this estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.image_shape is not None
        tags.input_tags.three_d_array = tags.input_tags.string = self.image_shape is None
        return tags


def _targets(X: Any, y: Any) -> NDArray[Any]:  # noqa: N803
    """Return the labels of the images as an array `[N]`."""
    if y is None:
        raise DataError(
            "ImageClassifier requires y to be passed, but the target y is None; give a label for each picture"
        )
    targets: NDArray[Any] = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True)
    check_consistent_length(X, targets)
    check_classification_targets(targets)
    return targets


def _samples(images: Any, labels: Labels, groups: Any) -> Samples:
    found, names = images_of(images, "X")
    if groups is None:
        return labeled("images", found, names, labels)
    check_consistent_length(images, groups)
    return labeled("images", found, names, labels, groups=tuple(str(group) for group in groups))


def _range_of(pixels: NDArray[Any]) -> tuple[float, float]:
    """Return the lowest and the highest number; the same number twice would leave no white."""
    low, high = float(pixels.min()), float(pixels.max())
    return (low, high) if low < high else (low, low + 1)


def _only_column(frame: Any) -> Any:
    """Return the column of pictures of a data frame that has no other."""
    if len(frame.columns) != 1:
        raise DataError(f"X has {len(frame.columns)} columns; give the one with the pictures")
    return frame[frame.columns[0]]
