"""The precisions of an export: how each is made, and which images it is checked on."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from firstlight.delivery.export.bfloat16 import bfloat16_of
from firstlight.delivery.export.check_images import true_labels
from firstlight.delivery.export.int8 import int8_files
from firstlight.delivery.export.parity import LEAST, Checked, compared, require_parity
from firstlight.errors import DataError, ModelFileError, UserError
from firstlight.inference.engines.answers import Engine
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.models.classifier import Classifier

Precision = Literal["float32", "bfloat16", "int8"]
LEARNED_STEP = 5  # of the images, one in five is for learning the ranges of int8


def passed(
    content: bytes, model: Classifier, images: Tensor, engine: Callable[[bytes], Engine], precision: Precision
) -> tuple[bytes, Checked]:
    """Return an export in a precision that passes the gate, and how it was checked.

    Of int8, each way is tried until one passes. It is checked on other images than those from which it learns.

    Args:
        content: the export in float32, without metadata.
        model: from which it was made.
        images: real ones, uint8 `[N, C, H, W]`.
        engine: what runs the bytes of an export.
        precision: wanted.

    Raises:
        ModelFileError: if the model gives no finite number for an image.
        UserError: if there are too few images for that, or none passes; it tells about the last.
    """
    learned, rest = _parted(images) if precision == "int8" else (images[:0], images)
    labels = None if precision == "float32" else true_labels(model, rest)
    strange = model.trust.strangeness if model.trust else None
    threshold = None if strange is None or precision == "float32" else strange.threshold
    reference = TorchEngine(model)
    failed: UserError | None = None
    for way, made in _in_precision(content, learned, precision):
        try:
            checked = compared(reference, engine(made), rest, labels=labels, threshold=threshold)
            checked = replace(checked, learned_from=len(learned) or None, made_by=way)
            require_parity(checked, precision)
        except ModelFileError:  # no export of such a model could pass
            raise
        except UserError as reason:
            failed = reason
        else:
            return made, checked
    assert failed is not None
    raise failed if precision == "float32" else UserError(f"{failed}; choose another `precision`")


def _in_precision(content: bytes, learned: Tensor, precision: Precision) -> Iterator[tuple[str | None, bytes]]:
    """Yield a file in a precision, made in each of the ways that there are, with the name of the way."""
    if precision == "int8":
        yield from int8_files(content, learned)
    else:
        yield None, bfloat16_of(content) if precision == "bfloat16" else content


def _parted(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return every fifth image, to learn from, and the others, to check on.

    Raises:
        DataError: if fewer than `LEAST` are left.
    """
    is_learned = torch.arange(len(images)) % LEARNED_STEP == 0
    if int((~is_learned).sum()) < LEAST:
        least = -(-LEAST * LEARNED_STEP // (LEARNED_STEP - 1))
        raise DataError(f"int8 needs {least} pictures, a fifth of them to learn from; give them with `check`")
    return images[is_learned], images[~is_learned]
