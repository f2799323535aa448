"""Write a set of pictures as shards."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from firstlight.cli.exit_codes import DONE
from firstlight.cli.flags import with_flags
from firstlight.cli.json_answer import print_json
from firstlight.cli.layout import counted
from firstlight.cli.options import Positional
from firstlight.cli.terminal import say, tell
from firstlight.data.recipe import SourceRecipe
from firstlight.disk import in_units
from firstlight.errors import RecipeError
from firstlight.escaping import escape_name
from firstlight.progress import announcements_to


@dataclass(frozen=True)
class Pack:
    """Write a set of pictures as a few large files, shards, instead of many small ones.

    Network disks and other computers read them faster. Your pictures are in them byte for byte. Training on the shards
    gives the same model as training on the folder, and other programs read them with webdataset.
    """

    EXAMPLE: ClassVar[str] = "firstlight pack ~/photos --shards ~/photo-shards"

    source: Positional[str]
    """A folder, an archive, a list, or a named set, as for train."""
    shards: Path | None = None
    """Folder for the shards, new or empty. What an interrupted pack left there is removed first."""
    shard_mb: int = 1000
    """End a shard before it would exceed this many megabytes."""
    shard_images: int | None = None
    """End a shard after this many pictures."""
    reading: SourceRecipe = field(default_factory=SourceRecipe)
    workers: int | None = None
    """Number of threads that read pictures."""
    quiet: bool = False
    """Show no progress and no notes, only errors."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self) -> int:
        """Write the shards, and say how many there are."""
        from firstlight.data.sharding import write_shards
        from firstlight.data.sources import load_data
        from firstlight.files import expand_user

        if self.shards is None:
            raise RecipeError("give `shards`, a new folder for them")
        with announcements_to(lambda line: tell(with_flags(line))):
            packed = write_shards(
                load_data(self.source, **self.reading.source_choices()),
                expand_user(self.shards),
                shard_mb=self.shard_mb,
                shard_images=self.shard_images,
                workers=self.workers,
            )
        if self.json:
            print_json(packed.to_json())
            return DONE
        say(
            f"{counted(packed.images, 'picture')} in {counted(packed.shards, 'shard')} of {in_units(packed.bytes)} "
            f"in all: {escape_name(str(packed.folder))}"
        )
        if packed.unreadable:
            name, reason = next(iter(packed.unreadable.items()))
            say(
                f"{counted(len(packed.unreadable), 'picture')} could not be read, such as {escape_name(name)} "
                f"({escape_name(reason)}); check and train list them"
            )
        say(f"train on them: firstlight train {escape_name(str(self.shards))}")
        return DONE
