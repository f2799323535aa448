"""The page: every section of a report, rendered into one HTML file that loads nothing else."""

import shlex
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from firstlight.delivery.report import figures
from firstlight.delivery.report.answers import Answers
from firstlight.delivery.report.classes import MOST_WORST, class_rows
from firstlight.delivery.report.confusions import confusions_of
from firstlight.delivery.report.crops import crops_of
from firstlight.delivery.report.labels import (
    conflicts_of,
    copies_of,
    leaks_of,
    quarantine_of,
    shortcuts_of,
    suspects_of,
    two_labels_of,
)
from firstlight.delivery.report.making import making_of
from firstlight.delivery.report.material import Material
from firstlight.delivery.report.overview import overview_of
from firstlight.delivery.report.possible import possible_sets
from firstlight.delivery.report.reliability import reliability_of
from firstlight.delivery.report.slices import slices_of
from firstlight.delivery.report.sprites import Sprites, position_rules, sprites_of
from firstlight.delivery.report.strangers import strangers_of
from firstlight.delivery.report.tiles import Tile, tile_of
from firstlight.delivery.wording import as_sentence, counted, percent
from firstlight.escaping import escape
from firstlight.evaluation.shortcut_words import ADVICE

SMALL_SIDE, LARGE_SIDE = 96, 176  # pixels
SMALL_BUDGET, LARGE_BUDGET, HEATMAP_BUDGET = 2_200_000, 600_000, 200_000  # bytes of sprites in the page
WORST_SHOWN = 24
ANSWER_SECTIONS = ("worst", "heatmaps", "mistakes", "bins", "possible", "strangers", "slices", "crops")
TITLES = {
    "summary": "Summary",
    "labels": "Labels",
    "confusion": "Confusions",
    "mistakes": "Mistakes",
    "classes": "Classes",
    "calibration": "Calibration",
    "possible": "Possible classes",
    "strangers": "Strangers",
    "slices": "Kinds of pictures",
    "crops": "The crop",
    "shortcuts": "Shortcuts",
    "copies": "Copies",
    "quarantine": "Not used",
    "training": "How it was made",
    "recipe": "Recipe",
}


@dataclass(frozen=True)
class Pictures:
    """The thumbnails of a page."""

    small: Sprites
    large: Sprites
    heatmaps: Sprites

    def heatmap_classes(self, image: str) -> str:
        """Return the CSS classes that show the heatmap of an image; empty if there is none."""
        return self.heatmaps.classes.get(image, "")

    def small_classes(self, image: str) -> str:
        """Return the CSS classes that show an image as a small one; empty if it was not kept."""
        return self.small.classes.get(image) or self.large.classes.get(image, "")

    def large_classes(self, image: str) -> str:
        """Return the CSS classes that show an image as large as it was kept; empty if it was not kept."""
        return self.large.classes.get(image) or self.small.classes.get(image, "")


def page_of(material: Material) -> str:
    """Return a report as HTML."""
    small = sprites_of(material.images, "s", side=SMALL_SIDE, budget=SMALL_BUDGET)
    large = sprites_of(material.originals, "l", side=LARGE_SIDE, budget=LARGE_BUDGET)
    heatmaps = sprites_of(material.heatmaps, "h", side=LARGE_SIDE, budget=HEATMAP_BUDGET)
    style = "\n".join([_asset("page.css"), position_rules(), small.css, large.css, heatmaps.css])
    script = _asset("page.js")
    template = _environment().get_template("page.html.jinja")
    found = sections(material)
    return template.render(
        found,
        contents=contents_of(found),
        run_key=material.record.source_key if material.record else "",
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        pictures=Pictures(small, large, heatmaps),
        figures=figures,
        counted=counted,
        percent=percent,
    )


def sections(material: Material) -> dict[str, Any]:
    """Return what the sections of a report show, by name; None or empty where there is nothing to show."""
    test, record = material.test, material.record
    answers = Answers.of(material.outputs, test.temperature) if test and material.outputs else None
    kept = set(material.images) | set(material.originals)
    confusions = confusions_of(test.confusion, material.classes, answers, kept) if test else None
    galleries = {gallery.key for gallery in confusions.galleries} if confusions else set()
    return {
        "overview": overview_of(material),
        "class_names": [name for name in material.classes if name == escape(name)],  # that can be typed
        "confusions": confusions,
        "mixed_up": [pair.sentence("in validation, ") for pair in record.mixed_up] if record else (),
        "class_rows": class_rows(test, galleries) if test else (),
        "most_worst": MOST_WORST,
        "suspects": suspects_of(material.suspects),
        "two_labels": two_labels_of(record.two_labels) if record else (),
        "source": escape(shlex.quote(material.source)),
        "near_two_labels": conflicts_of(record.near_two_labels, "pictures that look alike") if record else (),
        "copies": copies_of(material.copies) if material.copies or not record else leaks_of(record.leaked),
        "quarantine": quarantine_of(material.quarantined),
        "shortcuts": shortcuts_of(record.shortcuts) if record else (),
        "shortcut_advice": as_sentence(ADVICE),
        "making": making_of(material),
        **(answer_sections(material, answers) if answers else dict.fromkeys(ANSWER_SECTIONS)),
    }


def answer_sections(material: Material, answers: Answers) -> dict[str, Any]:
    """Return what is shown of the answers to the test images, by the names `ANSWER_SECTIONS`."""
    test, outputs, classes = material.test, material.outputs, material.classes
    assert test and outputs
    worst = worst_of(answers, classes)
    found = (
        worst,
        [one for one in worst if one.image in material.heatmaps],
        len(answers.worst),
        reliability_of(answers),
        possible_sets(outputs, test.temperature, material.trust),
        strangers_of(outputs.strangeness, material.trust, answers, classes),
        slices_of(answers, material.facts),
        crops_of(material),
    )
    return dict(zip(ANSWER_SECTIONS, found, strict=True))


def worst_of(answers: Answers, classes: tuple[str, ...]) -> list[Tile]:
    """Return the most confident mistakes."""
    return [tile_of(answers, place, classes) for place in answers.worst[:WORST_SHOWN].tolist()]


def contents_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the sections that a page has, each with its key and its title, in their order."""
    labels = found["two_labels"] or found["near_two_labels"] or found["suspects"].count
    present = {
        "summary": True,
        "labels": labels,
        "confusion": found["confusions"],
        "mistakes": found["worst"],
        "classes": found["class_rows"],
        "calibration": found["bins"],
        "possible": found["possible"],
        "strangers": found["strangers"],
        "slices": found["slices"],
        "crops": found["crops"],
        "shortcuts": found["shortcuts"],
        "copies": found["copies"].count,
        "quarantine": found["quarantine"].count,
        "training": True,
        "recipe": True,
    }
    return [(key, TITLES[key]) for key, shown in present.items() if shown]


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@cache
def _asset(name: str) -> str:
    return files("firstlight.delivery.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy names an inline style or script by."""
    return "sha256-" + b64encode(sha256(text.encode("utf-8")).digest()).decode()
