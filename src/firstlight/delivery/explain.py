"""Explain images of any kind: their heatmaps, one after the other, and files named `<name>.heatmap.png`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.parallel import chunks_of, in_order
from firstlight.data.sources.litter import HEATMAP_SUFFIX
from firstlight.delivery.heatmap import Heatmap
from firstlight.delivery.overlay import on_picture, overlay
from firstlight.delivery.style import DARK, LIGHT, on_page
from firstlight.errors import DataError, ImageError
from firstlight.files import expand_user
from firstlight.inference.engines.answers import NOT_FINITE
from firstlight.inference.heatmaps.explainer import Explainer, class_index
from firstlight.inference.inputs import Item, Target, read_item, read_whole
from firstlight.models.classifier import Classifier
from firstlight.resize import seen_part
from firstlight.runtime.processors import default_workers

FOLDER = "heatmaps"  # where heatmaps are written unless another folder is given
SIDE = 640  # pixels; pictures are shown no larger
IMAGES_AT_ONCE = 16  # that go through the network together
NAME_BYTES = 180  # of a picture's name that its heatmap keeps; file systems allow 255 in all
MADE_BY = "firstlight explain"


def explain_images(
    model: Classifier,
    items: Iterable[Item],
    *,
    method: str = "auto",
    class_: int | str | None = None,
    max_pixels: int | None = None,
    workers: int | None = None,
) -> Iterator[Heatmap]:
    """Yield a heatmap of each image, in order and at constant memory; one that cannot be used has an `error`.

    Args:
        model: on any device.
        items: the images.
        method: see `inference.heatmaps.explainer.Explainer`.
        class_: the class that the heatmaps are for, by name or number; by default the most probable one of each image.
        max_pixels: an image with more pixels is not decoded; by default the limit of the training.
        workers: number of threads that decode images.

    Raises:
        RecipeError: if there is no such method or class, or the network does not allow the method.
    """
    index = None if class_ is None else class_index(model, class_)
    explainer = Explainer(model, method)
    target = Target(model.input_size, model.resize, max_pixels or model.max_pixels, model.white)

    def read(chunk: Sequence[Item]) -> list[tuple[str | None, Any, Any]]:
        return [(item.name, read_item(item, target), read_whole(item, target, SIDE)) for item in chunk]

    def explained() -> Iterator[Heatmap]:
        for chunk in in_order(read, chunks_of(IMAGES_AT_ONCE, items), workers or default_workers()):
            yield from _explain(explainer, chunk, index)

    return explained()


def written(heatmaps: Iterable[Heatmap], folder: Path, *, dark: bool = False) -> Iterator[Heatmap]:
    """Write each heatmap as `<name>.heatmap.png` into a folder, and yield it with its `file`.

    Of pictures with the same name the second is `<name>-2.heatmap.png`, and so on. A heatmap of an earlier call is
    replaced; a file that firstlight did not write never is.

    Raises:
        DataError: if the folder cannot be written.
    """
    from firstlight.delivery.plots import save_figure

    folder = expand_user(folder)
    taken: set[str] = set()
    for number, heatmap in enumerate(heatmaps, start=1):
        if heatmap.error is not None:
            yield heatmap
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _free_file(folder, _stem(heatmap.image, number), taken)
            with on_page(DARK if dark else LIGHT):
                save_figure(heatmap.draw(), file, description=MADE_BY)
        except OSError as error:
            reason = f"heatmaps cannot be written there ({error.strerror}); choose another folder"
            raise DataError(reason, field="out", value=str(folder)) from None
        yield replace(heatmap, file=file)


def heatmaps_over(
    model: Classifier, pictures: Sequence[NDArray[np.uint8]], classes: Sequence[int], *, method: str = "auto"
) -> list[NDArray[np.uint8]]:
    """Return each picture in gray with the heatmap for a class over it, uint8 `[h, w, 3]` of the picture's size.

    It is for reports: 16 pictures take half a second with the default network on one processor.

    Args:
        model: on any device.
        pictures: uint8 `[h, w, C]` each, whole, such as the thumbnails of a run; at most `SIDE` pixels a side.
        classes: the class that each heatmap is for, by number.
        method: see `inference.heatmaps.explainer.Explainer`.
    """
    return overlays(Explainer(model, method), pictures, classes)


def overlays(
    explainer: Explainer, pictures: Sequence[NDArray[np.uint8]], classes: Sequence[int | None]
) -> list[NDArray[np.uint8]]:
    """Return what `heatmaps_over` does, with an explainer that was made before.

    Args:
        explainer: of the model.
        pictures: as for `heatmaps_over`.
        classes: the class that each heatmap is for, by number; None for the most probable one.

    Raises:
        ImageError: if the model gives no finite number for one of them.
    """
    model = explainer.model
    target = Target(model.input_size, model.resize, model.max_pixels, model.white)
    found: list[NDArray[np.uint8]] = []
    for chunk in chunks_of(IMAGES_AT_ONCE, zip(pictures, classes, strict=True)):
        images = _batch([read_item(Item(picture), target) for picture, _ in chunk], model)
        probabilities = explainer.probabilities(images)
        best = probabilities.argmax(dim=1).tolist()
        chosen = [best[row] if class_ is None else class_ for row, (_, class_) in enumerate(chunk)]
        values = explainer(images, torch.tensor(chosen)).cpu().numpy()
        if not (probabilities.isfinite().all() and np.isfinite(values).all()):
            raise ImageError(NOT_FINITE)
        for (picture, _), heat in zip(chunk, values, strict=True):
            height, width = picture.shape[:2]
            part = seen_part(height, width, model.input_size, model.resize)
            found.append(overlay(picture, on_picture(heat, part, height, width)))
    return found


def _explain(explainer: Explainer, chunk: list[tuple[str | None, Any, Any]], index: int | None) -> Iterator[Heatmap]:
    model = explainer.model
    usable = [pixels for _, pixels, whole in chunk if not isinstance(pixels, str) and not isinstance(whole, str)]
    rows: Iterator[tuple[Any, int, Any]] = iter(())
    if usable:
        images = _batch(usable, model)
        probabilities = explainer.probabilities(images)
        classes = probabilities.argmax(dim=1) if index is None else torch.full((len(usable),), index)
        values = explainer(images, classes).cpu().numpy()
        rows = zip(probabilities.cpu(), classes.tolist(), values, strict=True)
    for name, pixels, whole in chunk:
        if isinstance(pixels, str) or isinstance(whole, str):
            yield Heatmap(name, error=pixels if isinstance(pixels, str) else whole)
            continue
        fractions, shown, heat = next(rows)
        if not (fractions.isfinite().all() and np.isfinite(heat).all()):
            yield Heatmap(name, error=NOT_FINITE)
            continue
        best = int(fractions.argmax())
        height, width = whole.shape[:2]
        yield Heatmap(
            image=name,
            label=model.classes[best],
            probability=float(fractions[best]),
            shown=model.classes[shown],
            shown_probability=float(fractions[shown]),
            method=explainer.method,
            values=heat,
            picture=whole,
            part=seen_part(height, width, model.input_size, model.resize),
        )


def _batch(pixels: Sequence[Any], model: Classifier) -> torch.Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(model.mean.device)


def _stem(image: str | None, number: int) -> str:
    """Return the name of a picture without its folder and its extension."""
    stem = Path(image).stem if image else f"image-{number}"
    while len(stem.encode("utf-8", "surrogateescape")) > NAME_BYTES:
        stem = stem[:-1]
    return stem or f"image-{number}"


def _free_file(folder: Path, stem: str, taken: set[str]) -> Path:
    """Return a path that no other heatmap of this call has, and no file that firstlight did not write."""
    number = 1
    while True:
        name = f"{stem}{HEATMAP_SUFFIX}" if number == 1 else f"{stem}-{number}{HEATMAP_SUFFIX}"
        file = folder / name
        if name.casefold() not in taken and (not _exists(file) or is_our_heatmap(file)):
            taken.add(name.casefold())
            return file
        number += 1


def _exists(file: Path) -> bool:
    return file.exists() or file.is_symlink()


def is_our_heatmap(file: Path) -> bool:
    """Return whether a file is a heatmap that firstlight wrote, which may be replaced."""
    from PIL import Image

    if file.is_symlink() or not file.is_file():
        return False
    try:
        with Image.open(file, formats=("PNG",)) as image:
            return image.info.get("Description") == MADE_BY
    except (OSError, ValueError, SyntaxError):
        return False
