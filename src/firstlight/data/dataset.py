"""A data set, ready for training or scoring: packed, checked for unusable images and leaks, grouped, and split."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.corrections import Correction, apply_corrections, read_corrections
from firstlight.data.images import MAX_PIXELS
from firstlight.data.label_conflicts import LabelConflicts, label_conflicts
from firstlight.data.plan import plan_split, quarantine_refusal
from firstlight.data.recipe import DataRecipe
from firstlight.data.samples import Samples, Split
from firstlight.data.sources import load_data
from firstlight.data.split import SplitRows
from firstlight.data.store import DEFAULT_SIDE, STREAMED_NOTE, Cache, Size, Store, pack
from firstlight.data.streaming import StreamedRows
from firstlight.errors import DataError, require_type
from firstlight.files import write_csv
from firstlight.tables import Html
from firstlight.white import White

if TYPE_CHECKING:
    import torch

    from firstlight.data.loader import Loader, Sharing

IMAGES_SHOWN, THUMBNAIL_SIDE = 8, 112  # in a notebook, and pixels


@dataclass(frozen=True, repr=False)
class Dataset:
    """Samples, their packed images, and how they are split.

    Attributes:
        samples: names, labels and classes.
        store: the packed images.
        split: the rows of train, valid and test.
        leaks: groups (copies, or images that belong together) in more than one split, as rows;
            only an official split can have any.
        dropped: rows that were left out of the split because of leaks.
        notes: what a person should know about the split.
        corrections: of labels, which were applied.
    """

    samples: Samples
    store: Store
    split: SplitRows
    leaks: list[list[int]]
    dropped: list[int]
    notes: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()

    @property
    def conflicts(self) -> LabelConflicts:
        """The images that are in two classes."""
        removed = {each.image for each in self.corrections if each.action == "remove"}
        names = self.samples.names
        return label_conflicts(
            self.samples,
            self.store.duplicates,
            without={row for row, name in enumerate(names) if name in removed} if removed else set(),
        )

    @property
    def reviewed(self) -> frozenset[str]:
        """The names of the images whose labels a person has confirmed or corrected."""
        return frozenset(each.image for each in self.corrections)

    def __repr__(self) -> str:
        channels, height, width = self.store.input_size
        parts = ", ".join(f"{count:,} {split}" for split, count in self._counts().items())
        return f"Dataset({self.samples.source!r}, {parts}; {height} x {width} x {channels})"

    def _repr_html_(self) -> str:
        channels, height, width = self.store.input_size
        facts = {
            **{split: f"{count:,} pictures" for split, count in self._counts().items()},
            "size": f"{width} x {height}, {'gray' if channels == 1 else 'color'}",
            "cannot be used": f"{len(self.store.quarantined):,}",
            "leaks": f"{len(self.leaks):,}",
        }
        shown = Html(f"{len(self.samples):,} pictures from {self.samples.source}").facts(facts)
        some = self.split.train[:: max(1, len(self.split.train) // IMAGES_SHOWN)][:IMAGES_SHOWN]
        words = (self.samples.classes[self.samples.labels[row]] for row in some)
        shown.images(zip((_png(self.store.pixels[row]) for row in some), words, strict=True))
        return self.samples.add_to(shown).notes(self.notes).text()

    def _counts(self) -> dict[str, int]:
        return {split.word: len(self.split.rows(split.word)) for split in Split}

    def loader(
        self,
        split: str,
        device: "torch.device | None" = None,
        *,
        batch_size: int | None = None,
        seed: int | None = None,
        balanced: bool = False,
        drop_last: bool = False,
        sharing: "Sharing | None" = None,
    ) -> "Loader":
        """Return batches of `train`, `valid`, `test` or `all`.

        By default they are for scoring, on the CPU and in the order of the set; see `Loader` for the choices.

        >>> from firstlight.data.sources import load_data
        >>> loader = open_dataset(load_data("digits")).loader("train", batch_size=64, seed=0)
        >>> next(loader.epoch(1)).images.shape
        torch.Size([64, 1, 8, 8])
        """
        from firstlight.data.loader import Loader

        return Loader(
            self.store.pixels,
            self.samples.labels,
            self.split.rows(split),
            device=device,
            batch_size=batch_size,
            seed=seed,
            balanced=balanced,
            drop_last=drop_last,
            sharing=sharing,
        )


def open_dataset(
    samples: Any,
    recipe: DataRecipe | None = None,
    *,
    default_side: int = DEFAULT_SIDE,
    default_resize: str = "crop",
    seed: int = 0,
) -> Dataset:
    """Return a set that is ready to train on: decoded once, packed as uint8, and split without leaks.

    Copies of an image, and images that the source or the recipe groups, are in one split.

    Args:
        samples: from `load_data`, or anything that `load_data` takes.
        recipe: the choices about data; by default those of `DataRecipe()`.
        default_side: side in pixels if the recipe leaves `img_size` open; small images of one size still keep it.
        default_resize: how images are resized if the recipe leaves `resize` open.
        seed: another seed gives another split.

    Raises:
        DataError: if too many images cannot be used, no image is left for a split or a class, or the corrections do
            not fit the set.
        RecipeError: if `split`, `group_by` or `resize` cannot be used.

    >>> from firstlight.data.sources import load_data
    >>> data = open_dataset(load_data("digits"), DataRecipe(split="80/10/10"))
    >>> data.store.pixels.shape, len(data.split.train)
    ((1797, 8, 8, 1), 1439)
    """
    require_type(recipe, DataRecipe | None, "recipe", "a DataRecipe; that of a Recipe is `recipe.data`")
    if not isinstance(samples, Samples):
        samples = load_data(samples)
    recipe = recipe or DataRecipe()
    store = open_store(
        samples,
        size=recipe.img_size,
        default_side=default_side,
        resize=recipe.resize or default_resize,
        workers=recipe.workers,
        allow_quarantine=recipe.allow_quarantine,
        max_pixels=recipe.max_pixels,
        cache=recipe.cache,
    )
    plan = plan_split(samples, store, recipe, seed)
    if plan.refusals:
        raise DataError(plan.refusals[0])
    notes = (*plan.notes, *((STREAMED_NOTE,) if isinstance(store.pixels, StreamedRows) else ()))
    data = Dataset(samples, store, plan.rows, plan.leaks, plan.dropped, notes)
    return data if recipe.corrections is None else _corrected(data, recipe.corrections, to_test=recipe.correct_test)


def _corrected(data: Dataset, file: str, *, to_test: bool) -> Dataset:
    found = apply_corrections(read_corrections(file), data.samples, data.split, to_test=to_test, source=file)
    notes = (*data.notes, found.note)
    return replace(data, samples=found.samples, split=found.rows, notes=notes, corrections=found.applied)


def open_store(
    samples: Samples,
    *,
    size: Size = None,
    default_side: int = DEFAULT_SIDE,
    resize: str = "crop",
    workers: int | None = None,
    allow_quarantine: bool = False,
    max_pixels: int = MAX_PIXELS,
    white: White | None = None,
    cache: Cache = "auto",
) -> Store:
    """Return the packed images of a set; stop if too many of them cannot be used.

    Args:
        samples: from `load_data`.
        size: what images are resized to; see `store.pack`, also for `default_side`, `resize` and `workers`.
        default_side: the side of the square if `size` is None.
        resize: `crop`, `crop:FRACTION`, `pad` or `squash`.
        workers: decoding threads.
        allow_quarantine: continue even if more than 1% of the images cannot be used.
        max_pixels: an image with more pixels is quarantined before it is decoded.
        white: which value of more than 8 bits is white; by default chosen by the brightest image.
        cache: `disk`, `stream` or `auto`; see `store.pack`.

    Raises:
        DataError: if more than 1% of the images cannot be used.
    """
    store = pack(
        samples,
        size,
        default_side=default_side,
        resize=resize,
        workers=workers,
        max_pixels=max_pixels,
        white=white,
        cache=cache,
    )
    if not allow_quarantine and (reason := quarantine_refusal(samples, store)):
        raise DataError(reason)
    return store


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = io.BytesIO()
    image.save(file, format="png")
    return file.getvalue()


def write_quarantine(path: Path, samples: Samples, store: Store) -> None:
    """Write `image,reason`, one row per image that cannot be used; only the heading if there is none."""
    rows = ((samples.names[row], reason) for row, reason in sorted(store.quarantined.items()))
    write_csv(path, [("image", "reason"), *rows])
