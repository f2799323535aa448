"""Tiles: one picture of a page with what is said about it."""

from dataclasses import dataclass

from firstlight.delivery.report.answers import Answers
from firstlight.delivery.wording import percent
from firstlight.escaping import escape


@dataclass(frozen=True)
class Tile:
    """A picture with its words.

    Attributes:
        image: its name, by which its thumbnail is found.
        words: what it is and what the model said.
        label: the class that it is labeled as; with the words, it tells those who cannot see the picture what it is.
    """

    image: str
    words: str
    label: str = ""

    @property
    def path(self) -> str:
        """The name as a page shows it."""
        return escape(self.image)


def tile_of(answers: Answers, place: int, classes: tuple[str, ...]) -> Tile:
    """Return a test image with its label and the answer."""
    label = escape(classes[answers.labels[place]])
    said, sure = escape(classes[answers.predicted[place]]), percent(float(answers.confidence[place]), 0)
    if answers.right[place]:
        return Tile(answers.names[place], f"{said}, {sure} sure", label)
    return Tile(answers.names[place], f"said {said}, {sure} sure; labeled {label}", label)
