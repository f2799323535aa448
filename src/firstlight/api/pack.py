"""Write a set of images as shards."""

from pathlib import Path
from typing import Any

from firstlight.api.given import Data, samples_of
from firstlight.data.recipe import SourceRecipe
from firstlight.data.sharding import SHARD_MB, Packed, write_shards
from firstlight.errors import require_type
from firstlight.files import expand_user


def pack(
    data: Data,
    *,
    shards: Path | str,
    shard_mb: int = SHARD_MB,
    shard_images: int | None = None,
    workers: int | None = None,
    **choices: Any,
) -> Packed:
    """Write a set as shards: tar files that webdataset reads, and an index with which `train` and the others read them.

    The files of the images are in the shards byte for byte, those that cannot be decoded, too; images in arrays become
    PNG files. Training on the shards gives the same model as training on the set, bit for bit.

    Args:
        data: from `load_data`, or anything that `load_data` takes.
        shards: the folder for them, new or empty. What an interrupted `pack` left there is removed first.
        shard_mb: a shard ends before it would exceed this many megabytes.
        shard_images: a shard ends after this many images.
        workers: number of threads that read images.
        choices: how the source is read, as for `load_data`.

    Raises:
        UserError: if the data cannot be used, or the shards cannot be written; nothing is left of them then.
    """
    require_type(shards, Path | str, "shards", "the path of a folder")
    samples = samples_of(data, SourceRecipe.of_source(**choices).source_choices())
    folder = expand_user(shards)
    return write_shards(samples, folder, shard_mb=shard_mb, shard_images=shard_images, workers=workers)
