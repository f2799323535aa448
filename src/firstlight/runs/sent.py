"""Files of the run folder in every process of a run, although only rank 0 need see the folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firstlight.runtime.distributed import world


@contextmanager
def sent(folder: Path, *names: str) -> Iterator[Path]:
    """Yield a folder with some files of a folder of rank 0: itself there, a temporary copy in the other processes.

    Args:
        folder: in rank 0; what the others give does not matter.
        names: of the files, perhaps below it; those that are not there are left out.
    """
    here = world()
    if here.size == 1:
        yield folder
    elif here.is_leader:
        for name in names:
            here.bytes_from_leader((folder / name).read_bytes() if (folder / name).is_file() else None)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="firstlight-") as copy:
            for name in names:
                if (data := here.bytes_from_leader()) is not None:
                    (Path(copy) / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(copy) / name).write_bytes(data)
            yield Path(copy)
