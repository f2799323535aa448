"""`Trust`: what a model needs to say that it does not know; it travels in the model file, as its `trust` block.

A model is unsure of an image that is unlike anything in training, and of one for which more than one class remains
possible. The set of possible classes comes from a quantile that validation images gave (`evaluation.conformal`).

Torch is imported where it is used: reading a header does not wait for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from firstlight.models.strangeness import Strangeness

COVERAGE = 0.9  # of the images, the least fraction whose set should hold the right class
CLASS_QUANTILES = "class_quantiles"
STRANGENESS = "strangeness"


@dataclass(frozen=True, eq=False, kw_only=True)
class Trust:
    """When a model is unsure of its answer.

    Attributes:
        strangeness: how strange an image is, and from where on it is a stranger; None if the model cannot tell.
        coverage: of the images, the fraction whose set of classes should hold the right one.
        set_quantile: a class is in the set of an image if 1 - its probability is at most this, 0 to 1; with 1, where
            too few images were there to learn it from, every class is.
        class_quantiles: the same for each class by itself, float64 `[K]`; None if they were not measured.
        accept: the least probability of an accepted answer; None if an answer is accepted when its set holds one class.
        measured_on: what the quantiles were learned from, such as `{"split": "valid", "n": 300}`.
    """

    strangeness: "Strangeness | None" = None
    coverage: float = COVERAGE
    set_quantile: float = 1.0
    class_quantiles: "Tensor | None" = None
    accept: float | None = None
    measured_on: dict[str, Any] = field(default_factory=dict)

    def sets(self, probabilities: "Tensor", *, by_class: bool = False) -> "Tensor":
        """Return which classes remain possible for each image, bool `[B, K]`; see `prediction_sets`.

        Args:
            probabilities: calibrated, float `[B, K]`.
            by_class: whether every class has the coverage by itself, instead of all images together.
        """
        quantiles = self.class_quantiles if by_class and self.class_quantiles is not None else self.set_quantile
        return prediction_sets(probabilities, quantiles, self.coverage)

    def to(self, device: "torch.device | str") -> "Trust":
        """Return the same with its tensors on a device."""
        strangeness, quantiles = self.strangeness, self.class_quantiles
        return replace(
            self,
            strangeness=None if strangeness is None else strangeness.to(device),
            class_quantiles=None if quantiles is None else quantiles.to(device),
        )

    def header(self) -> dict[str, Any]:
        """Return what a model file keeps in its header, in JSON's types."""
        return {
            "coverage": self.coverage,
            "set_quantile": self.set_quantile,
            "accept": self.accept,
            "strangeness": None if self.strangeness is None else self.strangeness.header(),
            "measured_on": self.measured_on,
        }

    def tensors(self) -> "dict[str, Tensor]":
        """Return what a model file keeps as tensors, by name, on the CPU."""
        found = {} if self.class_quantiles is None else {CLASS_QUANTILES: self.class_quantiles}
        if self.strangeness is not None:
            found |= {f"{STRANGENESS}.{name}": tensor for name, tensor in self.strangeness.tensors().items()}
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: "Mapping[str, Tensor]", num_classes: int) -> "Trust":
        """Return what a model file says, whoever wrote it.

        Args:
            header: as `header` returned it; what is unknown in it is ignored.
            tensors: as `tensors` returned them, finite.
            num_classes: K.

        Raises:
            ValueError: if something is missing or impossible; it names that part.
        """
        coverage, quantile, accept = (header.get(key) for key in ("coverage", "set_quantile", "accept"))
        _require(_is_fraction(coverage) and 0 < coverage < 1, "coverage")  # type: ignore[operator]
        _require(_is_fraction(quantile), "set_quantile")
        _require(accept is None or _is_fraction(accept), "accept")
        _require(isinstance(header.get("measured_on"), dict), "measured_on")
        strange = header.get(STRANGENESS, ...)
        _require(isinstance(strange, dict | None), STRANGENESS)
        rest = dict(tensors)
        by_class = rest.pop(CLASS_QUANTILES, None)
        if by_class is not None:
            import torch

            _require(by_class.dtype == torch.float64 and by_class.shape == (num_classes,), CLASS_QUANTILES)
            _require(bool(((by_class >= 0) & (by_class <= 1)).all()), CLASS_QUANTILES)
        strangeness = None
        if strange is not None:
            from firstlight.models.strangeness import Strangeness

            names = [name for name in rest if name.startswith(f"{STRANGENESS}.")]
            parts = {name.removeprefix(f"{STRANGENESS}."): rest.pop(name) for name in names}
            strangeness = Strangeness.from_parts(strange, parts)
        for name in rest:
            _require(False, name)
        return cls(
            strangeness=strangeness,
            coverage=float(coverage),  # type: ignore[arg-type]
            set_quantile=float(quantile),  # type: ignore[arg-type]
            class_quantiles=by_class,
            accept=None if accept is None else float(accept),
            measured_on=header["measured_on"],
        )


def prediction_sets(probabilities: "Tensor", quantiles: "Tensor | float", coverage: float = COVERAGE) -> "Tensor":
    """Return which classes remain possible for each image, bool `[n, K]`: always the most probable one.

    A class is in the set if 1 - its probability is at most the quantile. Where that leaves a set empty, as it does for
    doubtful images of a model that is right more often than `coverage`, the set is the most probable classes that
    together have a probability of `coverage`. A set that grows covers no less.

    Args:
        probabilities: float `[n, K]`.
        quantiles: one for all classes, or one for each, float `[K]`.
        coverage: 0 to 1.

    Source: M. Sadinle, J. Lei and L. Wasserman, Least ambiguous set-valued classifiers with bounded error levels,
    JASA 2019.
    """
    inside = 1 - probabilities <= quantiles
    empty = ~inside.any(dim=1)
    if empty.any():
        ranked, order = probabilities[empty].sort(dim=1, descending=True, stable=True)
        inside[empty] = inside[empty].scatter(1, order, ranked.cumsum(dim=1) - ranked < coverage)
    return inside.scatter_(1, probabilities.argmax(dim=1, keepdim=True), True)


def _is_fraction(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _require(condition: bool, part: str) -> None:
    if not condition:
        raise ValueError(f"{part} is missing or impossible")
