"""Which engine runs a model: PyTorch, or ONNX Runtime with an export of exactly this model.

`torch`
    PyTorch, always.
`onnx`
    ONNX Runtime. It takes the export beside the model file (`model.onnx` beside `model.safetensors`) once that was
    checked here against the model, on the images that the run kept; else the one in the cache, which is made first if
    there is none. What cannot be checked, or does not answer as the model does, is refused.
`auto`
    ONNX Runtime where an export is known here already, by `onnx` or because `export` wrote it on this machine, and was
    measured to be faster (once for each model and machine); else PyTorch. A file that nobody has checked here is not
    even opened; a note says so. It makes an export only where that pays: for a server, and where the images would take
    PyTorch more than a minute.

A model on a GPU stays with PyTorch. A model that is no longer what its file says has no export.
"""

import math
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from firstlight.cache import cache_folder, writable_in_cache
from firstlight.delivery.known_exports import (
    FOLDER,
    Known,
    export_file,
    milliseconds_of,
    noise_for,
    read_export,
    recall,
    remember,
)
from firstlight.errors import DataError, ModelFileError, RecipeError, UserError
from firstlight.files import read_regular
from firstlight.inference.engines.onnx_engine import OnnxEngine
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import digest_of, read_model_card
from firstlight.progress import announce
from firstlight.runtime.processors import others_are_working
from firstlight.verified import mark_as_used

if TYPE_CHECKING:
    from firstlight.inference.engines.answers import Engine

Wanted = Literal["auto", "torch", "onnx"]
WORTH_AN_EXPORT = 60.0  # seconds of PyTorch; an export takes 2 to 15, and saves a part of them
FEW = 100  # images, for which nothing is estimated
NOT_INSTALLED = "ONNX Runtime is not installed; pip install 'firstlight[export]', or choose torch"
NO_IMAGES = (
    "there are no pictures to check an export of this model on; export it first, with at least 64 pictures as its "
    "`check`, or choose torch"
)


def engine_for(
    model: Classifier, wanted: Wanted = "auto", *, threads: int | None = None, images: float = 0
) -> "Engine":
    """Return what runs a model, as the module says.

    Args:
        model: in evaluation mode, on any device.
        wanted: `auto`, `torch` or `onnx`.
        threads: that one call of ONNX Runtime may use; by default as many as PyTorch.
        images: how many will follow, at least, as far as that is known; `math.inf` for a server.

    Raises:
        RecipeError: if there is no such engine, or `onnx` cannot be had; the message says why, and what to do.
    """
    if wanted not in ("auto", "torch", "onnx"):
        raise RecipeError("choose auto, torch, or onnx", field="engine", value=wanted)
    threads = threads or torch.get_num_threads()
    on_processor = model.mean.device.type == "cpu"
    if wanted == "onnx":
        if not on_processor:
            raise _refused("it runs on processors, and this model is on a GPU; set `device` to cpu, or choose torch")
        return _onnx(model, threads)
    if wanted == "torch" or not on_processor or model.file is None or find_spec("onnxruntime") is None:
        return TorchEngine(model)
    return _faster(model, threads, images)


def remember_export(model: Classifier, file: Path) -> None:
    """Remember that a file was exported from a model here and has passed the gate, and measure its speed."""
    digest = digest_of(model)
    if digest is not None and model.mean.device.type == "cpu":
        content, threads = read_regular(file), torch.get_num_threads()
        _measured(model, digest, content, Known(), threads)


def _onnx(model: Classifier, threads: int) -> OnnxEngine:
    """Return an engine that runs an export of a model; one is made if there is none.

    Raises:
        RecipeError: if there can be none, or if the one beside the model is no export of it.
    """
    if find_spec("onnxruntime") is None:
        raise _refused(NOT_INSTALLED)
    digest = digest_of(model)
    if digest is None:
        raise _refused("it needs a model file, and there is none that holds this model; save it, or choose torch")
    beside = _beside(model)
    try:
        if beside.is_file():
            return _checked(model, digest, beside, threads)
        made = _cached(digest)
        return OnnxEngine(_make(model, digest) if made is None else made[0], threads)
    except DataError:  # too few images
        raise _refused(NO_IMAGES) from None


def _faster(model: Classifier, threads: int, images: float) -> "Engine":
    """Return PyTorch, or ONNX Runtime if an export is known to be faster; one is made only where that pays."""
    digest = digest_of(model) if images >= FEW or _may_have_export(model) else None
    if digest is None:
        return TorchEngine(model)
    found = _known_beside(model, digest) or _cached(digest)
    if found is None:
        reference = TorchEngine(model)
        if not _is_worth_an_export(reference, model, images) or recall(digest, _no_export(digest)) is not None:
            return reference
        try:
            content = _make(model, digest)
        except UserError as error:
            remember(digest, _no_export(digest), Known(str(error)))
            announce(f"note: there is no ONNX file of this model, so PyTorch is used: {error}")
            return reference
        found = content, recall(digest, content) or Known()
    content, known = found
    try:
        if known.is_faster(threads) is None:
            known = _measured(model, digest, content, known, threads)
        return OnnxEngine(content, threads) if known.is_faster(threads) else TorchEngine(model)
    except UserError as error:  # an ONNX Runtime that cannot run the file any more
        announce(f"note: PyTorch is used: {error}")
        return TorchEngine(model)


def _may_have_export(model: Classifier) -> bool:
    """Return whether there is an export of the file of a model, at a glance."""
    if _beside(model).is_file():
        return True
    if model.file is None or not (cache_folder() / FOLDER).is_dir():
        return False
    with suppress(ModelFileError):  # the file is gone
        return export_file(read_model_card(model.file).sha256).is_file()
    return False


def _known_beside(model: Classifier, digest: str) -> tuple[bytes, Known] | None:
    """Return the export beside a model file, if it is known to answer as the model does; if not, say so."""
    file, model_file = _beside(model), model.file
    if model_file is None or not file.is_file():
        return None
    try:
        content = read_export(file, model_file)
        known = recall(digest, content)
        reason = "it has not been checked here; `engine` onnx checks it" if known is None else known.refusal
        if known is not None and reason is None:
            return content, known
    except ModelFileError as error:
        reason = str(error)
    announce(f"note: {file} is not used: {reason}")
    return None


def _cached(digest: str) -> tuple[bytes, Known] | None:
    """Return the export of a model in the cache, if there is one and it is what was written there."""
    try:
        content = read_regular(export_file(digest))
    except OSError:
        return None
    mark_as_used(export_file(digest))
    known = recall(digest, content)
    return None if known is None or known.refusal is not None else (content, known)


def _checked(model: Classifier, digest: str, file: Path, threads: int) -> OnnxEngine:
    """Return an engine that runs the file beside a model, which is checked if it is not known yet.

    Raises:
        RecipeError: if it is no export of the model.
        DataError: if there are too few images to check it on.
    """
    assert model.file is not None
    try:
        content = read_export(file, Path(model.file))
        known = recall(digest, content)
        if known is None:
            known = _check(model, digest, content)
            remember(digest, content, known)
        if known.refusal is None:
            return OnnxEngine(content, threads)
        reason = known.refusal
    except ModelFileError as error:
        reason = str(error)
    raise _refused(f"{file} cannot be used: {reason}; export the model again, or delete that file")


def _check(model: Classifier, digest: str, content: bytes) -> Known:
    # note: here and below, what few commands need is not loaded by all
    from firstlight.delivery.foreign_exports import require_export_of, require_same_answers

    announce("note: checking the ONNX file beside the model against it, once")
    try:
        require_export_of(content, digest)
        require_same_answers(model, TorchEngine(model), OnnxEngine(content))
    except ModelFileError as error:
        return Known(str(error))
    return Known()


def _make(model: Classifier, digest: str) -> bytes:
    """Write the export of a model into the cache, and return what it holds.

    Raises:
        DataError: if there are too few images to check it on.
        UserError: if its network cannot be exported, or its export does not answer as it does.
    """
    from firstlight.delivery.export.export import export_model

    announce("note: writing an ONNX file of the model to the cache, once; this takes a few seconds")
    file = writable_in_cache(str(export_file(digest).relative_to(cache_folder())))
    export_model(model, "onnx", out=file, golden=False)
    content = read_regular(file)
    _measured(model, digest, content, Known(), torch.get_num_threads())
    return content


def _measured(model: Classifier, digest: str, content: bytes, known: Known, threads: int) -> Known:
    """Return what is known about an export with its speed on this machine, and remember it.

    A speed that was measured while other programs were working is forgotten, and measured again next time.
    """
    measured = known.measured(TorchEngine(model), OnnxEngine(content, threads), noise_for(model), threads)
    remember(digest, content, known if others_are_working() else measured)
    return measured


def _is_worth_an_export(engine: TorchEngine, model: Classifier, images: float) -> bool:
    if not FEW <= images < math.inf:
        return images >= FEW
    return images * milliseconds_of(engine, noise_for(model)) / 1000 > WORTH_AN_EXPORT


def _beside(model: Classifier) -> Path:
    assert model.file is not None
    return Path(model.file).with_suffix(".onnx")


def _no_export(digest: str) -> bytes:
    """Return what stands for an export that this version cannot make, among what is known about exports."""
    return export_file(digest).name.encode()


def _refused(reason: str) -> RecipeError:
    return RecipeError(reason, field="engine", value="onnx")
