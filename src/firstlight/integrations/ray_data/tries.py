"""Find the image that ends the process which works on a block, over several lives of that process.

Before a process begins with some images, it notes them in a file. If it is killed, the next one sees with which images
the former ones ended. What has ended two of them is split: a block into batches, a batch into images; an image that has
ended two processes alone is not tried again.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from firstlight.errors import DataError
from firstlight.inference.prediction import Prediction

PATIENCE = 2  # processes that may end with the same images
BATCH = 64  # images
MOST_LIVES = 40  # of processes that work on the same block
LIFE = "life"
CRASHED = "the decoder crashed: reading this picture ended the process twice"

Range = tuple[int, int]  # of positions in a block, the second is not part of it


class Tries:
    """What processes have tried with a block.

    Args:
        file: their notes; made if there is none.

    Raises:
        DataError: if too many of them have ended.
        OSError: if it cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        notes = file.read_text("ascii").splitlines() if file.exists() else []
        if notes.count(LIFE) >= MOST_LIVES:
            raise DataError(
                f"{MOST_LIVES} processes ended while they worked on the same pictures; there may be too little memory: "
                "use fewer `workers`"
            )
        self._ended = Counter(last for last, following in pairwise([*notes, LIFE]) if following == LIFE)
        self._note(LIFE)

    def predict(
        self, count: int, work: Callable[[int, int], list[Prediction]], names: Callable[[int], str | None]
    ) -> list[Prediction]:
        """Return the predictions of all images of the block.

        Args:
            count: how many images there are.
            work: returns the predictions of the images from one position to before another.
            names: returns the name of an image.
        """
        predictions: list[Prediction] = []
        for start, stop in self._ranges(0, count):
            if self._is_hopeless(start, stop):
                predictions.append(Prediction(names(start), error=CRASHED))
            else:
                self._note(_words(start, stop))
                predictions += work(start, stop)
        return predictions

    def forget(self) -> None:
        """Remove the notes: the block is finished."""
        self._file.unlink(missing_ok=True)

    def _ranges(self, start: int, stop: int) -> Iterator[Range]:
        if stop - start == 1 or self._ended[_words(start, stop)] < PATIENCE:
            yield start, stop
            return
        step = BATCH if stop - start > BATCH else 1
        for first in range(start, stop, step):
            yield from self._ranges(first, min(first + step, stop))

    def _is_hopeless(self, start: int, stop: int) -> bool:
        return stop - start == 1 and self._ended[_words(start, stop)] >= PATIENCE

    def _note(self, words: str) -> None:
        with self._file.open("a", encoding="ascii") as notes:
            notes.write(words + "\n")


def _words(start: int, stop: int) -> str:
    return f"{start} {stop}"
